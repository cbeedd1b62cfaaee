"""Task distributions built from other distributions or from a Gymnasium environment."""
