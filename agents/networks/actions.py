"""Action spaces of soft actor-critic: networks, samples and soft values, continuous or discrete."""

import math
from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from agents.config import SACConfig
from agents.finite import check_log_probs
from agents.losses import categorical_critic_loss, critic_loss, expected_soft_value, soft_value
from agents.networks.actor_critic import Actor, CategoricalActor, CategoricalCritics, CriticEnsemble
from agents.networks.policies import LOG_STDDEV_RANGE, Categorical, SquashedGaussian
from agents.spaces import discrete_actions, is_discrete

_LOWEST, _HIGHEST = (np.array(bound, np.float32) for bound in LOG_STDDEV_RANGE)


class SoftValue(NamedTuple):
    """The value of a policy, including its entropy."""

    value: Tensor
    """(task, step)"""
    entropy: Tensor
    """(task, step), in nats; for continuous actions an estimate from one sample"""


PolicyT = TypeVar("PolicyT", SquashedGaussian, Categorical)
"""A distribution over actions"""


class Actions(nn.Module, ABC, Generic[PolicyT]):
    """Base class for kinds of action space. It builds actor and critics and has no parameters of its own."""

    width: int
    """Width of an action as a row"""
    encoded_width: int
    """Width of an action as the networks read it"""
    _actor: type[Actor] | type[CategoricalActor]
    _critics_read: int
    """Width of the action as the critics' input; 0 if they give a value for every action of a set"""
    _critics_give: int
    """Number of values that a critic returns"""
    default_target_entropy: float
    """Default target entropy of a learned temperature, in nats"""
    default_temperature: float | None
    """Default of a fixed temperature where values are in units of the returns' deviation; None learns it there too"""

    def make_actor(self, observation_dim: int, latent_dim: int, config: SACConfig) -> Actor | CategoricalActor:
        """Build pi(a | s, z)."""
        return self._actor(observation_dim, self.encoded_width, latent_dim, config.hidden_sizes)

    def make_critics(self, observation_dim: int, latent_dim: int, config: SACConfig) -> CriticEnsemble:
        """Build the ensemble of Q(s, a, z): categorical where ``reward_scale`` is None, else scalar."""
        kind = CategoricalCritics if config.reward_scale is None else CriticEnsemble
        return kind(
            config.n_critics,
            observation_dim + self._critics_read + latent_dim,
            config.hidden_sizes,
            self._critics_give,
            layer_norm=config.critic_layer_norm,
        )

    @abstractmethod
    def encode(self, action: Tensor) -> Tensor:
        """Convert actions (…, width) in the space's units to inputs of the networks, (…, encoded_width)."""

    @abstractmethod
    def encode_in_numpy(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute ``encode`` in NumPy."""

    @abstractmethod
    def choose(self, policy: PolicyT, greedy: Tensor | bool, rng: torch.Generator) -> Tensor:
        """Return an action for each task, (task, width): the likeliest one where ``greedy``, else a sample.

        ``greedy`` is (task,) bool, or True or False for all tasks.
        """

    @abstractmethod
    def choose_in_numpy(
        self, output: NDArray[np.float32], greedy: Tensor | bool, rng: torch.Generator
    ) -> NDArray[np.float32]:
        """Do as ``choose``, given the output of the actor's network, (task, output)."""

    @abstractmethod
    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:
        """Return the values of given actions, (critic, task, step); arguments are (task, step, dim)."""

    def critic_loss(
        self,
        critics: nn.Module,
        observation: Tensor,
        encoded_action: Tensor,
        z: Tensor,
        target: Tensor,
        learnt: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the critics' loss and their values of given actions, (critic, task, learnt step).

        Args:
            critics: made by ``make_critics``.
            observation: (task, step, observation_dim).
            encoded_action: (task, step, encoded_width).
            z: (task, step, latent_dim).
            target: values to learn, (task, step), detached.
            learnt: (step,) bool, the steps in the loss; all if None.
        """
        if learnt is not None:
            target = target[:, learnt]
        if not isinstance(critics, CategoricalCritics):
            q = self.q(critics, observation, encoded_action, z)
            q = q if learnt is None else q[:, :, learnt]
            return critic_loss(q, target), q
        logits = self._logits(critics, observation, encoded_action, z)
        logits = logits if learnt is None else logits[:, :, learnt]
        loss = categorical_critic_loss(logits.log_softmax(-1), critics.bins.probabilities(target))
        return loss, critics.bins.decode(logits.detach())

    @abstractmethod
    def _logits(self, critics: CategoricalCritics, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:
        """Return the logits of given actions' values, (critic, task, step, bin)."""

    @abstractmethod
    def soft_value(
        self,
        policy: PolicyT,
        critics: nn.Module,
        observation: Tensor,
        z: Tensor,
        temperature: Tensor,
        rng: torch.Generator,
    ) -> SoftValue:
        """Return the policy's soft value under ``critics``, with the gradient to the policy."""


class ContinuousActions(Actions[SquashedGaussian]):
    """A Box with finite bounds; the networks' inputs and outputs are actions scaled to [-1, 1]."""

    _actor = Actor
    low: Tensor
    high: Tensor

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(space.low, dtype=torch.float32).flatten(), persistent=False)
        self.register_buffer("high", torch.tensor(space.high, dtype=torch.float32).flatten(), persistent=False)
        self._scaled = bool(
            (space.low.astype(np.float32) != -1.0).any() or (space.high.astype(np.float32) != 1.0).any()
        )
        self.width = self.encoded_width = self._critics_read = len(self.low)
        self._critics_give = 1
        self.default_target_entropy, self.default_temperature = -0.5 * self.width, None

    def encode(self, action: Tensor) -> Tensor:  # noqa: D102
        return 2.0 * (action - self.low) / (self.high - self.low) - 1.0 if self._scaled else action

    def encode_in_numpy(self, action: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102
        if not self._scaled:
            return action
        low, high = self.low.numpy(), self.high.numpy()
        scaled: NDArray[np.float32] = 2.0 * (action - low) / (high - low) - 1.0
        return scaled

    def decode(self, action: Tensor) -> Tensor:
        """Convert actions in [-1, 1] to the space's units."""
        if not self._scaled:
            return action
        return torch.lerp(self.low, self.high, 0.5 * (action + 1.0))  # never rounds past a bound

    def _decode_in_numpy(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._scaled:
            return action
        low, high = self._buffers["low"], self._buffers["high"]
        assert low is not None
        assert high is not None
        lowest, highest, share = low.numpy(), high.numpy(), np.float32(0.5) * (action + np.float32(1.0))
        span = highest - lowest
        # From the nearer bound, as torch.lerp.
        decoded: NDArray[np.float32] = np.where(share < 0.5, lowest + share * span, highest - (1 - share) * span)
        return decoded

    def choose(self, policy: SquashedGaussian, greedy: Tensor | bool, rng: torch.Generator) -> Tensor:  # noqa: D102
        greedy = agreed(greedy)
        if isinstance(greedy, bool):
            return self.decode(policy.mode if greedy else policy.draw(rng).tanh())
        return self.decode(torch.where(greedy.unsqueeze(-1), policy.mode, policy.draw(rng).tanh()))

    def choose_in_numpy(  # noqa: D102
        self, output: NDArray[np.float32], greedy: Tensor | bool, rng: torch.Generator
    ) -> NDArray[np.float32]:
        mean, log_stddev = output[:, : self.width], output[:, self.width :]
        greedy = agreed(greedy)
        if greedy is True:
            return self._decode_in_numpy(np.tanh(mean))
        spread = np.exp(np.minimum(np.maximum(log_stddev, _LOWEST), _HIGHEST))
        if isinstance(greedy, Tensor):
            spread[greedy.numpy()] = 0.0
        noise = np.empty_like(mean)
        torch.from_numpy(noise).normal_(generator=rng)  # torch.randn's numbers in half its time
        return self._decode_in_numpy(np.tanh(mean + spread * noise))

    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:  # noqa: D102
        values: Tensor = critics(observation, encoded_action, z)
        return values.squeeze(-1)

    def _logits(self, critics: CategoricalCritics, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:
        return critics.logits(observation, encoded_action, z).squeeze(-2)

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


class DiscreteActions(Actions[Categorical]):
    """A finite set of actions (Christodoulou 2019): expectations over all actions replace samples.

    Every combination of a MultiDiscrete or MultiBinary space is a separate action. This assumes no independence between
    the parts of an action.
    """

    _actor = CategoricalActor
    table: Tensor
    """(action, width), every action as a row"""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__()
        self._table = discrete_actions(space)
        """``table`` in NumPy"""
        self.register_buffer("table", torch.from_numpy(self._table.copy()), persistent=False)
        self.encoded_width, self.width = self.table.shape
        self._critics_read, self._critics_give = 0, self.encoded_width
        # As in the paper, a share of the maximum entropy; the paper's 98 % would keep the policy almost random.
        self.default_target_entropy = 0.3 * math.log(self.encoded_width)
        # Fixed, so that actions are as good as random where their values do not differ: before the goal is found, an
        # average entropy that is reached elsewhere leaves a policy that repeats one action.
        self.default_temperature = 0.03

    def encode(self, action: Tensor) -> Tensor:
        """Return actions one-hot over the whole set; a row that is not an action of the space gives zeros."""
        return (action.unsqueeze(-2) == self.table).all(-1).to(action.dtype)

    def encode_in_numpy(self, action: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102
        one_hot: NDArray[np.float32] = (action[..., np.newaxis, :] == self._table).all(-1).astype(action.dtype)
        return one_hot

    def choose(self, policy: Categorical, greedy: Tensor | bool, rng: torch.Generator) -> Tensor:  # noqa: D102
        check_log_probs(policy.log_probs.numpy(force=True))
        return self._chosen(policy, greedy, rng)

    def _chosen(self, policy: Categorical, greedy: Tensor | bool, rng: torch.Generator) -> Tensor:
        greedy = agreed(greedy)
        if isinstance(greedy, bool):
            number = policy.mode if greedy else policy.sample(rng)
        else:
            number = torch.where(greedy, policy.mode, policy.sample(rng))
        return functional.embedding(number, self.table)

    def choose_in_numpy(  # noqa: D102
        self, output: NDArray[np.float32], greedy: Tensor | bool, rng: torch.Generator
    ) -> NDArray[np.float32]:
        check_log_probs(output)
        greedy = agreed(greedy)
        chosen: NDArray[np.float32]
        if greedy is True:
            chosen = self._table[output.argmax(1)]
        else:
            policy = Categorical(torch.from_numpy(output).log_softmax(-1))
            chosen = self._chosen(policy, greedy, rng).numpy()
        return chosen

    def q(self, critics: nn.Module, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:  # noqa: D102
        values: Tensor = (critics(observation, z) * encoded_action).sum(-1)
        return values

    def _logits(self, critics: CategoricalCritics, observation: Tensor, encoded_action: Tensor, z: Tensor) -> Tensor:
        return (critics.logits(observation, z) * encoded_action.unsqueeze(-1)).sum(-2)

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


def agreed(flags: Tensor | bool) -> Tensor | bool:
    """Return flags (task,) bool as True or False if they are all the same."""
    if isinstance(flags, bool):
        return flags
    found = flags.tolist()
    return all(found) or (any(found) and flags)


def make_actions(space: gym.Space[Any]) -> Actions[Any]:
    """Return the ``Actions`` for a space that ``check_spaces`` accepts."""
    if is_discrete(space):
        return DiscreteActions(space)
    assert isinstance(space, gym.spaces.Box)
    return ContinuousActions(space)
