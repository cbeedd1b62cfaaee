"""Meta-training: collect, store, learn."""
