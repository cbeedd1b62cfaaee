"""The model: what meta-trains, adapts, saves and loads."""
