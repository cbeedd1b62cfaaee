"""Base class of agents that learn by soft actor-critic: temperature, optimizer and target networks."""

import math
from collections.abc import Collection, Iterable
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from agents.base import MemoryT, NetworkAgent
from agents.config import SACConfig
from agents.learning.value_scale import make_value_scale
from agents.losses import temperature_loss
from agents.networks.actor_critic import CategoricalCritics
from agents.types import Trials


class SoftActorCriticAgent(NetworkAgent[MemoryT]):
    """Base class of agents that learn by soft actor-critic (Haarnoja et al. 2018).

    Args:
        observation_space: vectors, spaces that Gymnasium flattens to vectors, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        config: the agent's settings.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds, or too many actions.
    """

    config: SACConfig

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any], config: SACConfig) -> None:
        super().__init__(observation_space, action_space)
        self.config = config
        self.discount = 0.99 if config.discount is None else config.discount
        self.value_scale = make_value_scale(config.reward_scale)
        self.target_entropy = (
            self.actions.default_target_entropy if config.target_entropy is None else config.target_entropy
        )
        fixed = config.temperature
        if fixed is None and config.target_entropy is None and config.reward_scale is None:
            fixed = self.actions.default_temperature
        temperature = config.initial_temperature if fixed is None else fixed
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature) if temperature > 0 else -math.inf, dtype=torch.float32),
            requires_grad=fixed is None,
        )

    def see(self, trials: Trials) -> None:
        """Update the running statistics of observations and values, if any, by an iteration's trials."""
        super().see(trials)
        self.value_scale.see(trials, self.discount)

    def bellman_target(self, reward: Tensor, terminated: Tensor, next_value: Tensor) -> Tensor:
        """Return r + discount (1 - terminated) V(s') in the critics' unit, less what their zero stands for.

        Args:
            reward: in the environments' unit, (task, step).
            terminated: (task, step), 1.0 where the MDP ended.
            next_value: soft value by the target critics, in their unit, (task, step).
        """
        return self.value_scale.bellman_target(reward, terminated, next_value, self.discount)

    def make_optimizer(self, learning_rate: float | Tensor, *, capturable: bool = False) -> torch.optim.Adam:
        """Build Adam over everything that learns.

        Args:
            learning_rate: the step size; a float32 scalar tensor on the parameters' device if it changes between
                replays of a CUDA graph.
            capturable: whether a step can be captured in a CUDA graph.
        """
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        fused = not self.log_temperature.is_meta  # PyTorch has no fused step for parameters without data.
        return torch.optim.Adam(learning, lr=learning_rate, fused=fused, capturable=capturable)

    def descend(
        self,
        critic: Tensor,
        critic_parts: Collection[nn.Module],
        actor: Tensor,
        actor_parts: Iterable[nn.Module],
        entropy: Tensor,
    ) -> None:
        """Take one optimizer step on the critics', the actor's and, if it is learnt, the temperature's loss.

        Args:
            critic: the critics' loss plus all other losses that train ``critic_parts``.
            critic_parts: the modules that ``critic`` trains; weights of categorical critics are then normalised.
            actor: the actor's loss.
            actor_parts: the modules that ``actor`` trains.
            entropy: the policy's entropy, (task, step), detached; it trains a learned temperature.
        """
        self.optimizer.zero_grad(set_to_none=True)
        critic.backward(inputs=[parameter for part in critic_parts for parameter in part.parameters()])
        actor.backward(inputs=[parameter for part in actor_parts for parameter in part.parameters()])
        if self.log_temperature.requires_grad:
            temperature_loss(self.log_temperature, entropy, self.target_entropy).backward()
        self.optimizer.step()
        for part in critic_parts:
            if isinstance(part, CategoricalCritics):
                part.normalise_weights()

    @torch.no_grad()
    def follow(self, targets: Iterable[nn.Module], leaders: Iterable[nn.Module]) -> None:
        """Move each parameter of ``targets`` a share of the way to its counterpart in ``leaders``."""
        torch._foreach_lerp_(
            [parameter for part in targets for parameter in part.parameters()],
            [parameter for part in leaders for parameter in part.parameters()],
            self.config.target_update_rate,
        )
