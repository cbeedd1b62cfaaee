"""Replays of transitions and of trials, and the sampling of batches from them."""
