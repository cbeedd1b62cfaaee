"""Beliefs along trials of training tasks: they show how unlike them a task is, and how far its belief still moves."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

MOST_COUNTS, MOST_TRIALS = 100, 400
"""Largest number of counts and of trials that are read from a file"""


class Familiarity:
    """Beliefs along trials of training tasks, which those of a new task are compared with.

    Both comparisons are conformal predictions (Vovk et al. 2005, chapter 2): what held for a share of the training
    tasks holds for about that share of tasks like them, however wrong the posterior's own spread is. It is about that
    share because the encoder has learnt from these tasks, and a new task is played by another policy where sessions are
    greedy or forget.

    Args:
        counts: numbers of transitions, ascending from 0, (count,) int64.
        mean: posterior means after these, (count, trial, latent_dim), of two tasks or more.
        stddev: posterior standard deviations, of the same shape.
        task: number of each trial's task, (trial,) int64. Where new tasks are those of training, each trial counts as a
            task of its own.

    Raises:
        ValueError: the counts do not ascend from 0, a deviation is negative, or all trials are of one task.
    """

    def __init__(self, counts: Tensor, mean: Tensor, stddev: Tensor, task: Tensor) -> None:
        if int(counts[0]) != 0 or not bool((counts.diff() > 0).all()):
            raise ValueError("counts must ascend from 0")
        if not bool((stddev >= 0).all()):
            raise ValueError("stddev must not be negative")
        self.n_tasks = len(task.unique())
        if self.n_tasks < 2:
            raise ValueError("task must number two tasks or more")
        self.counts, self.mean, self.stddev, self.task = counts, mean, stddev, task
        spread = mean.double().std(1, correction=0, keepdim=True)
        self._unit = torch.where(spread > 0, spread, 1.0)
        scaled = mean / self._unit
        # The other mode subtracts squares: near beliefs would have inexact distances.
        distances = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
        # A new task has no trial of its own among them.
        same = task.unsqueeze(1) == task
        self._nearest = distances.masked_fill(same, torch.inf).amin(-1)

    def tensors(self) -> dict[str, Tensor]:
        """Return the arguments by name, for a checkpoint."""
        return {"counts": self.counts, "mean": self.mean, "stddev": self.stddev, "task": self.task}

    def unfamiliarity(self, mean: Tensor, n_seen: float) -> float:
        """Return the share of training tasks whose belief lies nearer to another one's than ``mean`` to any, in [0, 1).

        For tasks like those of training, it is uniform. Each dimension counts in units of its spread over the trials.
        What tasks differ in is seen only where it moves the belief, which holds what matters to the critics.

        Args:
            mean: posterior mean of the task, (latent_dim,).
            n_seen: transitions in the belief.
        """
        row = self._row(n_seen)
        distance = ((self.mean[row] - mean) / self._unit[row]).norm(dim=-1).amin()
        nearer = float((self._nearest[row] < distance).double().mean())
        return nearer * self.n_tasks / (self.n_tasks + 1)

    def interval(self, posterior: Normal, n_seen: float, coverage: float) -> tuple[Tensor, Tensor]:
        """Return bounds within which each dimension of the mean ends in ``coverage`` of tasks, (latent_dim,) each.

        In that share of training trials, the last mean lay within so many standard deviations of the posterior then.

        Args:
            posterior: of the task, mean and stddev (latent_dim,) each.
            n_seen: transitions in the belief. From half of a trial on, the number of deviations stays.
            coverage: above 0 and below 1.

        Raises:
            ValueError: there are too few training tasks for this coverage, or the encoder is deterministic.
        """
        row = self._row(min(n_seen, int(self.counts[-1]) / 2))
        moved, stddev = (self.mean[-1] - self.mean[row]).abs().double(), self.stddev[row].double()
        if not bool((stddev > 0).all()):
            raise ValueError("This agent's encoder is deterministic: its beliefs have no spread, and so no interval.")
        covered = math.ceil((self.n_tasks + 1) * coverage)  # of the training tasks and the new one
        if covered > self.n_tasks:
            raise ValueError(
                f"coverage must be at most {self.n_tasks / (self.n_tasks + 1):.3g} with {self.n_tasks} training tasks "
                f"to compare with, got {coverage:.6g}."
            )
        smallest = math.ceil(covered / self.n_tasks * len(self.task))
        reach = (moved / stddev).kthvalue(smallest, dim=0).values * posterior.stddev
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
