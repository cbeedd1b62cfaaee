"""Actors and critics, conditioned on z."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.policies import LOG_STDDEV_RANGE, Categorical, SquashedGaussian
from agents.networks.value_bins import N_BINS, ValueBins
from encoders import mlp
from encoders.mlp import line_padding, zero_padded


class Actor(nn.Module):
    """pi(a | s, z), a squashed Gaussian in normalised action units.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, observation_dim: int, action_dim: int, latent_dim: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(observation_dim + latent_dim, hidden_sizes, 2 * action_dim)

    def forward(self, observation: Tensor, z: Tensor) -> SquashedGaussian:
        """Return the distribution over actions for (…, observation_dim) and z (…, latent_dim)."""
        mean, log_stddev = self.network(torch.cat([observation, z], dim=-1)).chunk(2, dim=-1)
        return SquashedGaussian(mean, log_stddev.clamp(*LOG_STDDEV_RANGE))


class CategoricalActor(nn.Module):
    """pi(a | s, z) over a finite set of actions.

    Args:
        observation_dim: width of an observation.
        n_actions: size of the set.
        latent_dim: width of z.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, observation_dim: int, n_actions: int, latent_dim: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(observation_dim + latent_dim, hidden_sizes, n_actions)

    def forward(self, observation: Tensor, z: Tensor) -> Categorical:
        """Return the distribution over actions for (…, observation_dim) and z (…, latent_dim)."""
        return Categorical(self.network(torch.cat([observation, z], dim=-1)).log_softmax(-1))


class CriticEnsemble(nn.Module):
    """Independent critics of one shape, evaluated in one batched product per layer.

    A critic returns one value Q_i(s, a, z), or the values Q_i(s, ·, z) of all actions of a finite set.

    Args:
        n_critics: size of the ensemble.
        input_dim: total width of a critic's inputs.
        hidden_sizes: widths of the hidden layers.
        output_dim: number of values that a critic returns.
        layer_norm: normalise each hidden layer before its activation (Ba et al. 2016), without learned scales.
    """

    numbers_per_value = 1
    """Outputs of the last layer for each value"""

    def __init__(
        self,
        n_critics: int,
        input_dim: int,
        hidden_sizes: Sequence[int],
        output_dim: int = 1,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise([input_dim, *hidden_sizes, output_dim * self.numbers_per_value]):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(n_critics, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(n_critics, 1, fan_out).uniform_(-bound, bound)))
        self._finish()

    def _finish(self) -> None:
        """Complete the initial weights; a subclass may change the last layer's."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (critic, task, step, output_dim) in single precision. Inputs (task, step, dim) are concatenated."""
        joined = torch.cat(inputs, dim=-1)
        tasks, steps, width = joined.shape
        hidden = joined.reshape(1, tasks * steps, width).expand(self.weights[0].shape[0], -1, -1)
        *layers, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in layers:
            further = 0 if self.layer_norm else line_padding(joined, weight.shape[-1])
            weight = zero_padded(weight, further, hidden.shape[-1] - weight.shape[1])
            hidden = torch.baddbmm(zero_padded(bias, further), hidden, weight)
            if self.layer_norm:
                hidden = functional.layer_norm(hidden, hidden.shape[-1:])
            hidden = functional.relu(hidden, inplace=True)
        with torch.autocast(hidden.device.type, enabled=False):  # values need more than 8 bits
            weight = zero_padded(last[0], 0, hidden.shape[-1] - last[0].shape[1])
            output = _product(last[1], hidden.float(), weight)
        return output.view(len(output), tasks, steps, -1)


class CategoricalCritics(CriticEnsemble):
    """Critics whose values are distributions over ``ValueBins``. Before the first gradient step each value is 0.

    Behind layer norm, only the direction of a hidden unit's weights matters, not their norm. But the norm grows with
    Adam's steps, and the longer the weights, the less a step turns them. So each unit's weights keep the norm 1
    (Lyle et al. 2024), and the learning rate alone decides how fast the critics learn.

    Arguments are those of ``CriticEnsemble``.
    """

    numbers_per_value = N_BINS

    def _finish(self) -> None:
        self.bins = ValueBins()
        with torch.no_grad():
            self.weights[-1].zero_()
            self.biases[-1].zero_()
        self.normalise_weights()

    @torch.no_grad()
    def normalise_weights(self) -> None:
        """Divide each hidden unit's weights by their norm if layer norm follows; call it after each optimizer step."""
        if self.layer_norm:
            for weight in self.weights[:-1]:
                weight.div_(torch.linalg.vector_norm(weight, dim=1, keepdim=True))

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return logits (critic, task, step, output_dim, N_BINS) for inputs (task, step, dim), joined."""
        logits = super().forward(*inputs)
        return logits.view(*logits.shape[:-1], -1, N_BINS)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the mean values (critic, task, step, output_dim) for inputs (task, step, dim), joined."""
        return self.bins.decode(self.logits(*inputs))


def _product(bias: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Return bias + hidden @ weight for each critic. For one column, a sum is twice as fast as a batched product."""
    if weight.shape[-1] == 1:
        return (hidden * weight.mT).sum(-1, keepdim=True) + bias
    return torch.baddbmm(bias, hidden, weight)
