"""Checks of a task distribution before meta-training."""
