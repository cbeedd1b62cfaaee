"""On-policy learning: policies whose log-probabilities can be re-evaluated, for each action space."""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.base import MemoryT, NetworkAgent, initial_weights
from agents.finite import check_log_probs
from agents.learning.ppo import OnPolicyConfig
from agents.learning.reward_inputs import make_reward_inputs
from agents.learning.value_scale import TargetScale, make_value_scale
from agents.networks.actions import Actions, ContinuousActions, DiscreteActions
from agents.networks.features import make_features
from agents.networks.policies import Categorical, ClippedGaussian
from agents.types import Trials
from encoders import mlp

INITIAL_LOG_STDDEV = -0.5
"""Initial log standard deviation of a Gaussian policy, in units of half the action's range"""
ActionDistribution = ClippedGaussian | Categorical
"""A policy's distribution over actions, with log-probabilities that can be re-evaluated"""


class PolicyHead(nn.Module, ABC):
    """Maps a network's output to a distribution over actions, and converts between samples and actions."""

    width: int
    """Width of the network's output"""

    @abstractmethod
    def forward(self, output: Tensor) -> ActionDistribution:
        """Return the distribution with the parameters ``output`` (…, width)."""

    @abstractmethod
    def to_action(self, sample: Tensor) -> Tensor:
        """Convert samples to actions (…, action_dim) in the space's units."""

    @abstractmethod
    def to_sample(self, action: Tensor) -> Tensor:
        """Convert actions (…, action_dim) in the space's units to samples."""


class GaussianHead(PolicyHead):
    """A Gaussian with a standard deviation independent of the state, for a bounded Box; samples lie in [-1, 1]."""

    def __init__(self, actions: ContinuousActions) -> None:
        super().__init__()
        self._actions = actions
        self.width = actions.width
        self.log_stddev = nn.Parameter(torch.full((actions.width,), INITIAL_LOG_STDDEV))

    def forward(self, output: Tensor) -> ClippedGaussian:  # noqa: D102
        return ClippedGaussian(output, self.log_stddev.expand_as(output))

    def to_action(self, sample: Tensor) -> Tensor:  # noqa: D102
        return self._actions.decode(sample)

    def to_sample(self, action: Tensor) -> Tensor:  # noqa: D102
        return self._actions.encode(action).clamp(-1.0, 1.0)


class CategoricalHead(PolicyHead):
    """A distribution over a finite set of actions; samples are indices of actions."""

    def __init__(self, actions: DiscreteActions) -> None:
        super().__init__()
        self._actions = actions
        self.width = actions.encoded_width

    def forward(self, output: Tensor) -> Categorical:  # noqa: D102
        return Categorical(output.log_softmax(-1))

    def to_action(self, sample: Tensor) -> Tensor:  # noqa: D102
        return functional.embedding(sample, self._actions.table)

    def to_sample(self, action: Tensor) -> Tensor:  # noqa: D102
        return self._actions.encode(action).argmax(-1)


class Policy(nn.Module):
    """A policy pi(a | input): a network and its head.

    Args:
        actions: the kind of action space.
        input_dim: width of the input.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, actions: Actions[Any], input_dim: int, hidden_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.head = _make_head(actions)
        self.network = mlp(input_dim, hidden_sizes, self.head.width)
        with torch.no_grad():  # Small weights: the initial policy has no preference that it would have to unlearn.
            for parameter in list(self.network.parameters())[-2:]:
                parameter.mul_(0.01)

    def forward(self, read: Tensor) -> ActionDistribution:
        """Return the distribution over actions for the inputs ``read``, (…, input_dim)."""
        distribution: ActionDistribution = self.head(self.network(read))
        return distribution


class OnPolicyAgent(NetworkAgent[MemoryT], ABC):
    """Base class of agents that learn on-policy, from their own trials: features, a policy and one optimizer.

    Args:
        observation_space: vectors, spaces that Gymnasium flattens to vectors, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        config: the agent's settings.
        rng: draws the initial weights.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds, or too many actions; the settings do not fit the
            observations.
    """

    config: OnPolicyConfig
    policy: Policy

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        config: OnPolicyConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.config = config
        self.value_scale = make_value_scale(config.reward_scale, TargetScale)
        self.reward_inputs = make_reward_inputs(config.reward_scale)
        with initial_weights(rng):
            self.features = make_features(observation_space, config)
            self.make_networks()
        parameters = list(self.parameters())
        fused = not parameters[0].is_meta  # PyTorch has no fused step for parameters without data.
        self.optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)

    def see(self, trials: Trials) -> None:
        """Update the running statistics, if any: of observations, values and rewards."""
        super().see(trials)
        self.value_scale.see(self.value_sequences(trials), self.config.discount)
        self.reward_inputs.see(trials)

    def value_sequences(self, trials: Trials) -> Trials:
        """Return trials whose ``ended`` marks where the value's sequence ends: with each episode."""
        return trials

    @abstractmethod
    def make_networks(self) -> None:
        """Build the policy and the other networks that read the features."""


def choose(policy: ActionDistribution, deterministic: Tensor, rng: torch.Generator) -> Tensor:
    """Return a sample for each task, or the likeliest one where ``deterministic`` (task,).

    Raises:
        NonFiniteError: the policy's log-probabilities are not finite.
    """
    if isinstance(policy, Categorical):
        check_log_probs(policy.log_probs.numpy(force=True))
    best = policy.mode
    if deterministic.all():
        return best
    return torch.where(deterministic.view(-1, *[1] * (best.dim() - 1)), best, policy.sample(rng))


def _make_head(actions: Actions[Any]) -> PolicyHead:
    if isinstance(actions, DiscreteActions):
        return CategoricalHead(actions)
    assert isinstance(actions, ContinuousActions)
    return GaussianHead(actions)
