"""Permutation-invariant encoders, which pool the transitions."""
