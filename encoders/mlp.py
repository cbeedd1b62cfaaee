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
    """Build a perceptron with an activation after each hidden layer and a linear output, (…, input) to (…, output)."""
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers += [nn.Linear(input_dim, width), activation()]
        input_dim = width
    layers.append(OutputLinear(input_dim, output_dim))
    return MLP(*layers)


class OutputLinear(nn.Linear):
    """A linear layer in single precision, under autocast too: values and log-probabilities need more than 8 bits."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, output) in single precision for (…, input) of any."""
        if not torch.is_autocast_enabled(input.device.type):
            return functional.linear(input, self.weight, self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), self.weight, self.bias)
