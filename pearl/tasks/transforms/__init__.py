"""Task distributions made of others or of a Gymnasium environment."""
