"""The studio: a local page and an API over one's own models."""
