"""Collection: rollouts, worker processes, and reference policies for scores."""
