"""Settings of a run: their classes, and reading and writing them."""
