"""What beliefs were like along trials of training tasks: how unlike them one is, and how far it still moves."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal

MOST_COUNTS, MOST_TRIALS = 100, 400
"""Largest number of counts and of trials that are read from a file"""


class Familiarity(nn.Module):
    """Beliefs along trials of training tasks, which those of a new task are compared with.

    Both comparisons are conformal predictions (Vovk et al. 2005, chapter 2): what held for a share of the training
    trials holds for about that share of tasks like them, however wrong the posterior's own spread is.

    Args:
        counts: numbers of transitions, ascending from 0, (count,) int64.
        mean: posterior means after these, (count, trial, latent_dim), of two trials or more.
        stddev: posterior standard deviations, of the same shape.
    """

    counts: Tensor
    mean: Tensor
    stddev: Tensor

    def __init__(self, counts: Tensor, mean: Tensor, stddev: Tensor) -> None:
        super().__init__()
        for name, value in (("counts", counts), ("mean", mean), ("stddev", stddev)):
            self.register_buffer(name, value)
        spread = mean.double().std(1, correction=0, keepdim=True)
        self._unit = torch.where(spread > 0, spread, 1.0)
        scaled = mean / self._unit
        # The other mode subtracts squares: near beliefs would have inexact distances.
        distances = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
        itself = torch.eye(mean.shape[1], dtype=torch.bool)
        self._nearest = distances.masked_fill(itself, torch.inf).amin(-1)

    def unfamiliarity(self, mean: Tensor, n_seen: float) -> float:
        """Return the share of training trials whose belief lies nearer to another one than ``mean`` to any, in [0, 1).

        For tasks like those of training, it is uniform. Each dimension counts in units of its spread over the trials.
        What tasks differ in is seen only where it moves the belief, which holds what matters to the critics.

        Args:
            mean: posterior mean of the task, (latent_dim,).
            n_seen: transitions in the belief.
        """
        row = self._row(n_seen)
        distance = ((self.mean[row] - mean) / self._unit[row]).norm(dim=-1).amin()
        return int((self._nearest[row] < distance).sum()) / (self._nearest.shape[1] + 1)

    def interval(self, posterior: Normal, n_seen: float, coverage: float) -> tuple[Tensor, Tensor]:
        """Return bounds within which the posterior mean ends in ``coverage`` of trials, (latent_dim,) each.

        In training trials, that share of the last means lay within so many standard deviations of the posterior then.

        Args:
            posterior: of the task, mean and stddev (latent_dim,) each.
            n_seen: transitions in the belief. From half of a trial on, the number of deviations stays.
            coverage: above 0 and below 1.

        Raises:
            ValueError: the encoder is deterministic, so that posteriors have no spread.
        """
        row = self._row(min(n_seen, int(self.counts[-1]) / 2))
        moved, stddev = (self.mean[-1] - self.mean[row]).abs().double(), self.stddev[row].double()
        if not bool((stddev > 0).all()):
            raise ValueError("This agent's encoder is deterministic: its beliefs have no spread, and so no interval.")
        reach = float(torch.quantile((moved / stddev).flatten(), coverage)) * posterior.stddev
        return posterior.mean - reach, posterior.mean + reach

    def _row(self, n_seen: float) -> int:
        """Return the row of beliefs after as many transitions, or the nearest smaller number."""
        return max(0, int((self.counts <= n_seen).sum()) - 1)


def counts_up_to(longest: int) -> Tensor:
    """Return numbers of transitions from 0 on that grow by two fifths or by 1, up to ``longest``, (count,) int64."""
    counts = [0, 1]
    while counts[-1] < longest:
        counts.append(min(longest, max(counts[-1] + 1, int(1.4 * counts[-1]))))
    return torch.tensor(counts)
