"""Actor and critics, conditioned on z."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders import mlp

LOG_STDDEV_RANGE = (-20.0, 2.0)


class SquashedGaussian(NamedTuple):
    """tanh of a diagonal Gaussian: a distribution over actions in [-1, 1] (Haarnoja et al. 2018, appendix C)."""

    mean: Tensor
    """(…, action_dim), before tanh"""
    log_stddev: Tensor
    """(…, action_dim), before tanh"""

    @property
    def mode(self) -> Tensor:
        """The policy mean, squashed: (…, action_dim)."""
        return self.mean.tanh()

    def sample(self, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw reparameterised actions (…, action_dim) and their log-probabilities (…,)."""
        noise = torch.randn(self.mean.shape, generator=rng, device=self.mean.device, dtype=self.mean.dtype)
        unsquashed = self.mean + self.log_stddev.exp() * noise
        return unsquashed.tanh(), self.log_prob(unsquashed)

    def log_prob(self, unsquashed: Tensor) -> Tensor:
        """Return log pi(tanh(u)) for ``u`` (…, action_dim): exact at saturated actions too, where 1 - tanh(u)^2 is 0.

        Uses log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).
        """
        normalised = (unsquashed - self.mean) * (-self.log_stddev).exp()
        gaussian = -0.5 * normalised.square() - self.log_stddev - 0.5 * math.log(2 * math.pi)
        log_jacobian = 2.0 * (math.log(2.0) - unsquashed - functional.softplus(-2.0 * unsquashed))
        return (gaussian - log_jacobian).sum(-1)


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


class CriticEnsemble(nn.Module):
    """Independent critics Q_i(s, a, z), evaluated in one batched product per layer.

    Args:
        n_critics: size of the ensemble.
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(
        self, n_critics: int, observation_dim: int, action_dim: int, latent_dim: int, hidden_sizes: Sequence[int]
    ) -> None:
        super().__init__()
        widths = [observation_dim + action_dim + latent_dim, *hidden_sizes, 1]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise(widths):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(n_critics, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(n_critics, 1, fan_out).uniform_(-bound, bound)))

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """Return (critic, task, step) values for observations, actions and z, each (task, step, dim)."""
        inputs = torch.cat([observation, action, z], dim=-1)
        tasks, steps, width = inputs.shape
        hidden = inputs.reshape(1, tasks * steps, width).expand(self.weights[0].shape[0], -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < len(self.weights) - 1:
                hidden = functional.relu(hidden)
        return hidden.view(-1, tasks, steps)
