"""Algorithms that adapt by gradient steps: MAML, FOMAML, Reptile."""
