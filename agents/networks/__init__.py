"""Networks, the distributions over actions that they give, and the features that they read."""
