"""Stratified noise for posterior samples: the draws of a trial are spread evenly."""

from functools import cache
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class StratifiedDraws(NamedTuple):
    """Standard normal noise, one vector per episode. Each vector is N(0, I); those of a trial fill the space evenly.

    Draw k of a trial is the normal quantile of ``shift + k alpha``, reflected into the unit cube. The shift is uniform;
    alpha holds negative powers of the generalised golden ratio. This is a randomly shifted additive recurrence (Cranley
    and Patterson 1976; Roberts 2018). Each draw alone is still a posterior sample, but an agent without evidence does
    not try the same place twice. A fractional k interpolates: the noise moves continuously from one draw to the next.
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
        """Return each trial's noise, (task, latent_dim), at the share ``ahead`` (task,) of the way to the next draw."""
        position = self.shift + (self.episode + ahead).unsqueeze(-1) * _alpha(self.shift.shape[1]).to(self.shift.device)
        uniform = 1.0 - (1.0 - position.remainder(2.0)).abs()
        noise: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return noise.float()

    def noise_in_numpy(self, ahead: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute ``noise`` in NumPy; it equals PyTorch's up to rounding."""
        number = (self.episode.numpy() + ahead)[:, np.newaxis]
        position = self.shift.numpy() + number * _alpha(self.shift.shape[1]).numpy()
        uniform = np.minimum(np.maximum(1.0 - np.abs(1.0 - position % 2.0), 1e-9), 1 - 1e-9)
        noise: NDArray[np.float32] = torch.special.ndtri(torch.from_numpy(uniform)).numpy().astype(np.float32)
        return noise

    def advance(self, ended: Tensor) -> Self:
        """Advance to the next draw in each trial where ``ended`` (task,) is True."""
        return self._replace(episode=self.episode + ended)


class LatestNoise:
    """Noise of the draws asked about last: within an episode it stays."""

    def __init__(self) -> None:
        # Replaced as a whole: threads may share it.
        self._known: tuple[StratifiedDraws, NDArray[np.float32]] | None = None

    def of(self, draws: StratifiedDraws) -> NDArray[np.float32]:
        """Return each trial's noise, (task, latent_dim), none of the way to the next draw."""
        known = self._known
        if known is None or known[0] is not draws:
            known = self._known = draws, draws.noise(torch.zeros_like(draws.shift[:, 0])).numpy()
        return known[1]


@cache
def _alpha(dim: int) -> Tensor:
    """Return the steps of the recurrence, (dim,)."""
    return torch.pow(generalised_golden_ratio(dim), -torch.arange(1, dim + 1).double())


@cache
def generalised_golden_ratio(dim: int) -> float:
    """Return the positive root of x^(dim + 1) = x + 1; the golden ratio for ``dim`` 1."""
    root = 2.0
    for _ in range(64):
        root = (1.0 + root) ** (1.0 / (dim + 1))
    return root
