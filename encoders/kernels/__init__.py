"""Faster implementations of PyTorch functions; tests compare each with PyTorch's."""
