"""The multilayer perceptron that encoders and agents are made of."""

from collections.abc import Sequence

from torch import nn


def mlp(
    input_dim: int, hidden_sizes: Sequence[int], output_dim: int, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Build a perceptron with an activation after each hidden layer and a linear output, (…, input) to (…, output)."""
    layers: list[nn.Module] = []
    for width in hidden_sizes:
        layers += [nn.Linear(input_dim, width), activation()]
        input_dim = width
    layers.append(nn.Linear(input_dim, output_dim))
    return nn.Sequential(*layers)
