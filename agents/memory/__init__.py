"""Algorithms whose policy remembers the trial: RL², the transformer, recurrent soft actor-critic."""
