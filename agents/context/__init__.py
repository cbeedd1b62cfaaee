"""Algorithms that infer a task variable from context: PEARL."""
