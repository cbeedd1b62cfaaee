"""Replays of transitions and of trials, and what gradient steps draw from them."""
