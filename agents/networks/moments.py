"""Running moments: the scales by which networks read observations, rewards and changes of observations."""

import torch
from torch import Tensor, nn

CLIP = 10.0
"""Scaled inputs are clipped to this many standard deviations."""
RESOLUTION = 1e-7
"""Smallest standard deviation, as a share of the mean, that counts as variation: about float32's resolution"""
OUTLIER = 20.0
"""Values that lie further beyond the middle 98 % of their rows than this many times their range are cut to there"""


class RunningMoments(nn.Module):
    """Mean and variance of all rows seen so far (Chan et al. 1979), part of the agent's weights.

    Args:
        dim: width of a row.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(dim, dtype=torch.float64))

    @torch.no_grad()
    def see(self, rows: Tensor) -> None:
        """Fold ``rows`` (row, dim) into the moments."""
        fold_moments(self.count, self.mean, self.variance, rows)

    def standardise(self, values: Tensor) -> Tensor:
        """Return values (…, dim) less the mean, over the standard deviation, within ``CLIP``."""
        return ((values - self.mean.float()) * self.inverse_deviation()).clamp(-CLIP, CLIP)

    def inverse_deviation(self) -> Tensor:
        """Return one over the standard deviation, (dim,) in single precision; 0 for entries that never varied."""
        return inverse_deviation(self.mean, self.variance).float()

    def inverse_rms(self) -> Tensor:
        """Return one over the root mean square, (dim,) in single precision; 0 for entries that were always 0."""
        return inverse_root(self.variance + self.mean.square(), torch.zeros_like(self.mean)).float()


def fold_moments(count: Tensor, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
    """Fold ``rows`` (row, dim) into a running count (), mean (dim,) and variance (dim,), in place."""
    if len(rows) == 0:
        return
    rows = without_outliers(rows.double())
    total = count + len(rows)
    delta = rows.mean(0) - mean
    squares = variance * count + rows.var(0, correction=0) * len(rows) + delta.square() * count * len(rows) / total
    mean += delta * len(rows) / total
    variance.copy_(squares / total)
    count.copy_(total)


def without_outliers(rows: Tensor) -> Tensor:
    """Cut single numbers out of all proportion: one of 1e8 among thousands near 1 would decide the scale for ever.

    Entries whose middle 98 % are all equal, such as rare rewards, stay as they are.

    Args:
        rows: (row, …).
    """
    first = max(1, round(0.01 * len(rows)))
    low, high = rows.kthvalue(first, dim=0).values, rows.kthvalue(len(rows) + 1 - first, dim=0).values
    reach = OUTLIER * (high - low)
    return torch.where(reach > 0, rows.clamp(low - reach, high + reach), rows)


def inverse_deviation(mean: Tensor, variance: Tensor) -> Tensor:
    """Return one over the standard deviation, (dim,); 0 where it is no more than rounding next to the mean."""
    return inverse_root(variance, (RESOLUTION * mean).square())


def inverse_root(variance: Tensor, least: Tensor) -> Tensor:
    """Return ``variance ** -0.5`` where it exceeds ``least``, else 0: constant inputs are left out.

    There is no absolute floor, so that a change of units by a power of two changes no digit of what is scaled.
    """
    varies = variance > least
    return torch.where(varies, torch.where(varies, variance, 1.0).rsqrt(), 0.0)
