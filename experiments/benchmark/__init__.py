"""The measurements of bench.py by section, and a textbook implementation of PEARL's step to compare with."""
