"""Adaptation to one task: step by step, and as a policy."""
