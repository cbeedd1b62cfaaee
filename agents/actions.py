"""What soft actor-critic needs of an action space: networks, samples and soft values, continuous or discrete."""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.config import PEARLAgentConfig
from agents.losses import expected_soft_value, soft_value
from agents.networks import (
    Actor,
    BinnedCritics,
    CategoricalActor,
    ConditionedActor,
    ConditionedEnsemble,
    CriticEnsemble,
    ResidualEnsemble,
)
from agents.policies import Categorical, SquashedGaussian
from agents.spaces import discrete_actions, is_discrete


class SoftValue(NamedTuple):
    """The value of a policy, entropy counted in."""

    value: Tensor
    """(task, step)"""
    entropy: Tensor
    """(task, step), in nats; an estimate from one action where actions are continuous"""


class Actions(nn.Module, ABC):
    """One kind of action space. It holds no parameters: those are the actor's and the critics' that it makes."""

    width: int
    """Numbers in an action's row"""
    encoded_width: int
    """Numbers in an action as the networks read it"""
    _actor: type[Actor] | type[CategoricalActor]
    _critics_read: int
    """Numbers of an action that the critics read; none where they value every action of a set"""
    _critics_give: int
    """Values that a critic gives"""
    default_target_entropy: float
    """What a learned temperature aims at, in nats, unless the settings say otherwise"""

    def make_actor(self, observation_dim: int, latent_dim: int, config: PEARLAgentConfig) -> nn.Module:
        """Build pi(a | s, z)."""
        if config.conditioning != "concatenate":
            discrete = self._actor is CategoricalActor
            width = self.encoded_width
            return ConditionedActor(
                config.conditioning, observation_dim, width, latent_dim, config.hidden_sizes, discrete=discrete
            )
        return self._actor(observation_dim, self.encoded_width, latent_dim, config.hidden_sizes)

    def make_critics(self, observation_dim: int, latent_dim: int, config: PEARLAgentConfig) -> nn.Module:
        """Build the ensemble of Q(s, a, z)."""
        bins = config.value_bins
        gives, reads = self._critics_give * max(1, bins), observation_dim + self._critics_read
        sizes, norm = config.hidden_sizes, config.critic_layer_norm
        critics: nn.Module
        if config.conditioning != "concatenate":
            critics = ConditionedEnsemble(
                config.conditioning, config.n_critics, reads, latent_dim, sizes, gives, layer_norm=norm
            )
        elif config.residual_critics:
            critics = ResidualEnsemble(config.n_critics, reads + latent_dim, sizes, gives)
        else:
            critics = CriticEnsemble(config.n_critics, reads + latent_dim, sizes, gives, layer_norm=norm)
        return BinnedCritics(critics, bins, self._critics_give) if bins else critics

    def binned_loss(
        self, critics: BinnedCritics, observation: Tensor, encoded_action: Tensor, z: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the values of given actions, (critic, task, step)."""
        if self._critics_read:
            logits = critics.logits(observation, encoded_action, z).squeeze(-2)
        else:
            logits = (critics.logits(observation, z) * encoded_action.unsqueeze(-1)).sum(-2)
        return critics.loss(logits, target), critics.value(logits)

    @abstractmethod
    def encode(self, action: Tensor) -> Tensor:
        """Return rows (…, width), in the space's units, as the networks read them, (…, encoded_width)."""

    @abstractmethod
    def choose(self, policy: Any, greedy: Tensor, rng: torch.Generator) -> Tensor:
        """Return a row for each task, (task, width): the likeliest action where ``greedy`` (task,), else a sample."""

    @abstractmethod
    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:
        """Return (critic, task, step), the values of given actions; arguments are (task, step, dim)."""

    @abstractmethod
    def soft_value(
        self,
        policy: Any,
        critics: nn.Module,
        observation: Tensor,
        z: Tensor,
        temperature: Tensor,
        rng: torch.Generator,
    ) -> SoftValue:
        """Return the policy's soft value by ``critics``, with the gradient to the policy."""


class ContinuousActions(Actions):
    """A Box with finite bounds; networks read and give actions scaled to [-1, 1]."""

    _actor = Actor
    low: Tensor
    high: Tensor

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(space.low, dtype=torch.float32).flatten(), persistent=False)
        self.register_buffer("high", torch.tensor(space.high, dtype=torch.float32).flatten(), persistent=False)
        self.width = self.encoded_width = self._critics_read = len(self.low)
        self._critics_give = 1
        self.default_target_entropy = -float(self.width)

    def encode(self, action: Tensor) -> Tensor:  # noqa: D102
        return 2.0 * (action - self.low) / (self.high - self.low) - 1.0

    def decode(self, action: Tensor) -> Tensor:
        """Return actions in [-1, 1] in the space's units."""
        return torch.lerp(self.low, self.high, 0.5 * (action + 1.0))  # never rounds past a bound

    def choose(self, policy: SquashedGaussian, greedy: Tensor, rng: torch.Generator) -> Tensor:  # noqa: D102
        if greedy.all():
            return self.decode(policy.mode)
        if not greedy.any():
            return self.decode(policy.draw(rng).tanh())
        return self.decode(torch.where(greedy.unsqueeze(-1), policy.mode, policy.draw(rng).tanh()))

    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:  # noqa: D102
        values: Tensor = critics(observation, encoded_action, z)
        return values.squeeze(-1)

    def soft_value(  # noqa: D102
        self,
        policy: SquashedGaussian,
        critics: nn.Module,
        observation: Tensor,
        z: Tensor,
        temperature: Tensor,
        rng: torch.Generator,
    ) -> SoftValue:
        action, log_prob = policy.sample(rng)
        return SoftValue(soft_value(self.q(critics, observation, action, z), log_prob, temperature), -log_prob)


class DiscreteActions(Actions):
    """A finite set (Christodoulou 2019): expectations over all actions take the place of samples.

    Every combination of a MultiDiscrete or MultiBinary space is an action of its own, so that nothing need be assumed
    independent of anything else.
    """

    _actor = CategoricalActor
    table: Tensor
    """(action, width), every action's row"""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(discrete_actions(space)), persistent=False)
        self.encoded_width, self.width = self.table.shape
        self._critics_read, self._critics_give = 0, self.encoded_width
        # As in the paper, a share of the largest entropy; its 98 % would leave the policy all but random.
        self.default_target_entropy = 0.3 * math.log(self.encoded_width)

    def encode(self, action: Tensor) -> Tensor:
        """Return each action's row as one-hot over the whole set; a row that is no action of the space gives zeros."""
        return (action.unsqueeze(-2) == self.table).all(-1).to(action.dtype)

    def choose(self, policy: Categorical, greedy: Tensor, rng: torch.Generator) -> Tensor:  # noqa: D102
        number = policy.mode if greedy.all() else torch.where(greedy, policy.mode, policy.sample(rng))
        return functional.embedding(number, self.table)

    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:  # noqa: D102
        values: Tensor = (critics(observation, z) * encoded_action).sum(-1)
        return values

    def soft_value(  # noqa: D102
        self,
        policy: Categorical,
        critics: nn.Module,
        observation: Tensor,
        z: Tensor,
        temperature: Tensor,
        rng: torch.Generator,
    ) -> SoftValue:
        with torch.no_grad():
            q = critics(observation, z)
        return SoftValue(expected_soft_value(q, policy.log_probs, temperature), policy.entropy())


def make_actions(space: gym.Space[Any]) -> Actions:
    """Return what soft actor-critic needs of ``space``, which ``check_spaces`` has accepted."""
    if is_discrete(space):
        return DiscreteActions(space)
    assert isinstance(space, gym.spaces.Box)
    return ContinuousActions(space)
