"""Posterior samples that do not repeat themselves within a trial."""

from typing import NamedTuple, Self

import torch
from torch import Tensor


class StratifiedDraws(NamedTuple):
    """Standard normal noise, a new vector per draw: each alone is N(0, I), those of one trial fill the space evenly.

    Draw k of a trial is the normal quantile of ``frac(shift + k alpha)``, where the shift is uniform over the unit cube
    and alpha the generalised golden ratio's powers: a randomly shifted additive recurrence (Cranley and Patterson 1976;
    Roberts 2018). Posterior sampling stays what it is, draw by draw, but an agent that has not found anything yet does
    not try the same place twice.
    """

    shift: Tensor
    """(task, latent_dim), uniform in [0, 1)"""
    n_drawn: Tensor
    """(task,) int64, draws taken so far"""

    @classmethod
    def begin(cls, n_tasks: int, latent_dim: int, rng: torch.Generator, device: torch.device) -> Self:
        """Start the sequence of ``n_tasks`` trials."""
        shift = torch.rand(n_tasks, latent_dim, generator=rng, dtype=torch.float64).to(device)
        return cls(shift, torch.zeros(n_tasks, dtype=torch.int64, device=device))

    def noise(self) -> Tensor:
        """Return each trial's next draw, (task, latent_dim)."""
        latent_dim = self.shift.shape[1]
        exponents = torch.arange(1, latent_dim + 1, device=self.shift.device)
        alpha = torch.pow(generalised_golden_ratio(latent_dim), -exponents.double())
        uniform = torch.frac(self.shift + self.n_drawn.unsqueeze(-1) * alpha)
        noise: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return noise.float()

    def advance(self, chosen: Tensor) -> Self:
        """Count a draw of each trial where ``chosen`` (task,) is True."""
        return self._replace(n_drawn=self.n_drawn + chosen)


def generalised_golden_ratio(dim: int) -> float:
    """Return the positive root of x^(dim + 1) = x + 1; the golden ratio for ``dim`` 1."""
    root = 2.0
    for _ in range(64):
        root = (1.0 + root) ** (1.0 / (dim + 1))
    return root
