"""The multilayer perceptron that encoders and agents are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Sequential):
    """A multilayer perceptron.

    Its layers have no hooks, so that their ``forward`` is enough: what PyTorch does around a call takes longer than the
    products themselves where one agent acts on one observation.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output) for (…, input)."""
        for layer in self:
            input = layer.forward(input)
        return input


def mlp(input_dim: int, hidden_sizes: Sequence[int], output_dim: int, activation: type[nn.Module] = nn.ReLU) -> MLP:
    """Build a perceptron with an activation after each hidden layer and a linear output.

    Args:
        input_dim: width of the input.
        hidden_sizes: widths of the hidden layers.
        output_dim: width of the output.
        activation: keeps zero where it is, and takes ``inplace``.
    """
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers += [HiddenLinear(input_dim, width), activation(inplace=True)]
        input_dim = width
    layers.append(OutputLinear(input_dim, output_dim))
    return MLP(*layers)


CACHE_LINE = 16
"""Numbers in single precision that a cache line holds"""
MANY_ROWS = 256
"""Rows from which on a product gains more from whole cache lines than padding costs"""


def line_padding(rows: Tensor, width: int) -> int:
    """Return how many zeros shall follow ``width`` numbers that are computed from ``rows`` (…, dim).

    Products of many rows in single precision take up to 1.6 times as long where rows do not fill whole cache lines, as
    those of 300 numbers. In bfloat16 it makes no difference.
    """
    if rows.numel() < MANY_ROWS * rows.shape[-1] or torch.is_autocast_enabled(rows.device.type):
        return 0
    return -width % CACHE_LINE


def zero_padded(values: Tensor, *further: int) -> Tensor:
    """Return ``values`` with so many zeros behind them in the last dimension, the one before it, and so on."""
    return functional.pad(values, [n for count in further for n in (0, count)]) if any(further) else values


class HiddenLinear(nn.Linear):
    """A linear layer whose output may be followed by zeros, which the next layer passes over (see ``line_padding``)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output or wider) for (…, input or wider)."""
        behind, further = input.shape[-1] - self.in_features, line_padding(input, self.out_features)
        if behind or further:
            weight = zero_padded(self.weight, behind, further)
            return functional.linear(input, weight, zero_padded(self.bias, further))
        return functional.linear(input, self.weight, self.bias)


class OutputLinear(nn.Linear):
    """A linear layer in single precision, under autocast too: values and log-probabilities need more than 8 bits."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output) in single precision for (…, input or wider) of any."""
        weight = zero_padded(self.weight, input.shape[-1] - self.in_features)
        if not torch.is_autocast_enabled(input.device.type):
            return functional.linear(input, weight, self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), weight, self.bias)
