"""Runs: folders in which models are trained, tracked and drawn."""
