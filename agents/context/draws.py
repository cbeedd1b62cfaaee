"""Posterior samples that do not repeat themselves within a trial."""

from functools import cache
from typing import NamedTuple, Self

import torch
from torch import Tensor


class StratifiedDraws(NamedTuple):
    """Standard normal noise, a vector per episode: each alone is N(0, I), those of one trial fill the space evenly.

    Draw k of a trial is the normal quantile of ``shift + k alpha``, reflected into the unit cube, where the shift is
    uniform and alpha holds the generalised golden ratio's powers: a randomly shifted additive recurrence (Cranley and
    Patterson 1976; Roberts 2018). Posterior sampling stays what it is, draw by draw, but an agent that has found
    nothing yet does not try the same place twice. k need not be whole: between two draws the noise moves steadily from
    one to the other, without a jump.
    """

    shift: Tensor
    """(task, latent_dim), uniform in [0, 2)"""
    episode: Tensor
    """(task,) int64, the number k of the episode's draw"""

    @classmethod
    def begin(cls, n_tasks: int, latent_dim: int, rng: torch.Generator, device: torch.device) -> Self:
        """Start the sequence of ``n_tasks`` trials."""
        shift = 2.0 * torch.rand(n_tasks, latent_dim, generator=rng, dtype=torch.float64).to(device)
        return cls(shift, torch.zeros(n_tasks, dtype=torch.int64, device=device))

    def noise(self, ahead: Tensor) -> Tensor:
        """Return each trial's noise, (task, latent_dim), at ``ahead`` (task,) of the way from its draw to the next."""
        latent_dim = self.shift.shape[1]
        exponents = torch.arange(1, latent_dim + 1, device=self.shift.device)
        alpha = torch.pow(generalised_golden_ratio(latent_dim), -exponents.double())
        position = self.shift + (self.episode + ahead).unsqueeze(-1) * alpha
        uniform = 1.0 - (1.0 - position.remainder(2.0)).abs()
        noise: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return noise.float()

    def advance(self, ended: Tensor) -> Self:
        """Go on to the next draw of each trial where ``ended`` (task,) is True."""
        return self._replace(episode=self.episode + ended)


@cache
def generalised_golden_ratio(dim: int) -> float:
    """Return the positive root of x^(dim + 1) = x + 1; the golden ratio for ``dim`` 1."""
    root = 2.0
    for _ in range(64):
        root = (1.0 + root) ** (1.0 / (dim + 1))
    return root
