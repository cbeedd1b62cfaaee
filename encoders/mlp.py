"""The multilayer perceptron of encoders and agents."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Sequential):
    """A multilayer perceptron.

    It calls its layers' ``forward`` directly, without hooks. For a single observation, the overhead of a module's call
    exceeds the matrix products.
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
        activation: an activation with f(0) = 0 and the argument ``inplace``.
    """
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers += [HiddenLinear(input_dim, width), activation(inplace=True)]
        input_dim = width
    layers.append(OutputLinear(input_dim, output_dim))
    return MLP(*layers)


CACHE_LINE = 16
"""Number of single-precision values in a cache line"""
MANY_ROWS = 256
"""Minimum number of rows for which whole cache lines save more time than padding costs"""


def line_padding(rows: Tensor, width: int) -> int:
    """Return the number of zeros to append to outputs of ``width`` numbers that are computed from ``rows`` (…, dim).

    Products of many single-precision rows take up to 1.6 times as long if the rows do not fill whole cache lines, as
    rows of 300 numbers. In bfloat16 this makes no difference.
    """
    if rows.numel() < MANY_ROWS * rows.shape[-1] or torch.is_autocast_enabled(rows.device.type):
        return 0
    return -width % CACHE_LINE


def zero_padded(values: Tensor, *further: int) -> Tensor:
    """Append zeros to ``values``: ``further[0]`` in the last dimension, ``further[1]`` in the one before, and so on."""
    return functional.pad(values, [n for count in further for n in (0, count)]) if any(further) else values


class HiddenLinear(nn.Linear):
    """A linear layer that may pad its output with zeros, which the next layer ignores (see ``line_padding``)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output), padded with zeros if that is faster, for inputs (…, input) with or without padding."""
        behind, further = input.shape[-1] - self.in_features, line_padding(input, self.out_features)
        if behind or further:
            weight = zero_padded(self.weight, behind, further)
            return functional.linear(input, weight, zero_padded(self.bias, further))
        return functional.linear(input, self.weight, self.bias)


class OutputLinear(nn.Linear):
    """A linear layer in single precision even under autocast: values and log-probabilities need more than 8 bits."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output) in single precision for inputs (…, input) of any precision, with or without padding."""
        weight = zero_padded(self.weight, input.shape[-1] - self.in_features)
        if not torch.is_autocast_enabled(input.device.type):
            return functional.linear(input, weight, self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), weight, self.bias)
