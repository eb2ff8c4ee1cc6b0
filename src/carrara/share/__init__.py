"""Models and what is known of them leave for elsewhere: cards, the Hub, and trackers of trainings.

``facts`` says what a run tells about itself, ``card`` writes it down, ``places`` takes the names of the user's own
folders out of it, ``parcel`` lists what is sent, ``arriving`` checks what comes. ``hub`` talks to the Hub, and
``trackers`` to programs that show how trainings go.
"""
