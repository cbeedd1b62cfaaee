"""Values as distributions over bins, for critics that learn by cross-entropy."""

import math

import torch
from torch import Tensor, nn

N_BINS = 51
REACH = 4.0
"""The outermost edges lie at plus and minus sinh of this number, about 27 in the unit of the values."""
SPREAD = 0.75
"""Standard deviation of a target's distribution, in bins (Farebrother et al. 2024, section 3.1)"""


class ValueBins(nn.Module):
    """Bins of equal width in asinh(value): linear near zero, logarithmic far from it.

    A target becomes a Gaussian over asinh(value), cut into bins ("HL-Gauss", Farebrother et al. 2024, arXiv
    2403.03950). ``decode`` returns the mean of the distribution's values; it inverts ``probabilities``, since each
    bin's value makes up for the Gaussian's spread: E[sinh(u + e)] = sinh(u) exp(var(e) / 2).
    """

    edges: Tensor
    """(N_BINS + 1,), in asinh(value)"""
    values: Tensor
    """(N_BINS,), the value that each bin stands for"""

    def __init__(self) -> None:
        super().__init__()
        edges = torch.linspace(-REACH, REACH, N_BINS + 1, dtype=torch.float64)
        width = 2 * REACH / N_BINS
        self._spread = SPREAD * width
        variance = self._spread**2 + width**2 / 12  # The bin's own width adds the variance of a uniform distribution.
        values = torch.sinh(0.5 * (edges[1:] + edges[:-1])) * math.exp(-variance / 2)
        self.register_buffer("edges", edges.float(), persistent=False)
        self.register_buffer("values", values.float(), persistent=False)

    def probabilities(self, value: Tensor) -> Tensor:
        """Return the distributions of target values (…,), (…, N_BINS). Values beyond the edges count as at the edge."""
        centre = value.asinh().clamp(-REACH, REACH).unsqueeze(-1)
        cumulative = torch.special.ndtr((self.edges - centre) / self._spread)
        mass = cumulative[..., 1:] - cumulative[..., :-1]
        probabilities: Tensor = mass / mass.sum(-1, keepdim=True)
        return probabilities

    def decode(self, logits: Tensor) -> Tensor:
        """Return the mean values (…,) of distributions given by ``logits`` (…, N_BINS)."""
        return (logits.softmax(-1) * self.values).sum(-1)
