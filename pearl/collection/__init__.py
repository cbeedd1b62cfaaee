"""Collection: rollouts, worker processes, and the policies that scores are measured against."""
