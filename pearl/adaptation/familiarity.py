"""How unlike the training tasks a task is: how far its belief lies from theirs."""

import torch
from torch import Tensor, nn

MOST_COUNTS, MOST_TRIALS = 100, 400
"""Largest number of counts and of trials that are read from a file"""


class Familiarity(nn.Module):
    """Beliefs of training trials after as many transitions each, and how far each lies from the nearest other one.

    The distance of a task's belief to the nearest of them is compared with theirs (conformal prediction, Vovk et al.
    2005, chapter 2). So the result has a meaning of its own: for tasks like those of training, it is uniform. Distances
    are those of posterior means, each dimension in units of its spread over the trials. What tasks differ in is seen
    only where it moves the belief, which holds what matters to the critics.

    Args:
        counts: numbers of transitions, ascending, (count,) int64.
        beliefs: posterior means after these, (count, trial, latent_dim), of two trials or more.
    """

    counts: Tensor
    beliefs: Tensor

    def __init__(self, counts: Tensor, beliefs: Tensor) -> None:
        super().__init__()
        self.register_buffer("counts", counts)
        self.register_buffer("beliefs", beliefs)
        spread = beliefs.double().std(1, correction=0, keepdim=True)
        self._unit = torch.where(spread > 0, spread, 1.0)
        scaled = beliefs / self._unit
        # The other mode subtracts squares: near beliefs would have inexact distances.
        distances = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
        itself = torch.eye(beliefs.shape[1], dtype=torch.bool)
        self._nearest = distances.masked_fill(itself, torch.inf).amin(-1)

    def unfamiliarity(self, mean: Tensor, n_seen: float) -> float:
        """Return the share of training trials whose belief lies nearer to another one than ``mean`` to any, in [0, 1).

        Args:
            mean: posterior mean of the task, (latent_dim,).
            n_seen: transitions in the belief. Before the first of ``counts``, nothing is known, and the share is 0.
        """
        row = int((self.counts <= n_seen).sum()) - 1
        if row < 0:
            return 0.0
        distance = ((self.beliefs[row] - mean) / self._unit[row]).norm(dim=-1).amin()
        return int((self._nearest[row] < distance).sum()) / (self._nearest.shape[1] + 1)


def counts_up_to(longest: int) -> Tensor:
    """Return numbers of transitions from 1 on that grow by two fifths or by 1, up to ``longest``, (count,) int64."""
    counts = [1]
    while counts[-1] < longest:
        counts.append(min(longest, max(counts[-1] + 1, int(1.4 * counts[-1]))))
    return torch.tensor(counts)
