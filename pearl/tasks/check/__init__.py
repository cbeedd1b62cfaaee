"""Examining a task distribution before meta-training."""
