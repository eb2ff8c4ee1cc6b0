"""What the studio answers: to its own page, to OpenAI's clients, and to who watches over it."""
