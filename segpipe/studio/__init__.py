"""The web studio: one place for operators to see, draw, try, set and run."""
