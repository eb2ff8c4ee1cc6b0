"""Models for other programs, and models of other programs: what is written is what stock software reads."""
