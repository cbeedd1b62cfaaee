"""Base class of agents that learn by soft actor-critic: a temperature, one optimizer, targets that follow."""

import math
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from agents.base import MemoryT, NetworkAgent
from agents.config import SACConfig
from agents.losses import temperature_loss


class SoftActorCriticAgent(NetworkAgent[MemoryT]):
    """Shared part of agents that learn by soft actor-critic (Haarnoja et al. 2018).

    Args:
        observation_space: vectors, what Gymnasium can flatten to them, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        config: the agent's settings.

    Raises:
        TypeError: a space is of a kind that is not supported.
        ValueError: an action space without finite bounds, or with too many actions.
    """

    config: SACConfig

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any], config: SACConfig) -> None:
        super().__init__(observation_space, action_space)
        self.config = config
        self.target_entropy = (
            self.actions.default_target_entropy if config.target_entropy is None else config.target_entropy
        )
        temperature = config.initial_temperature if config.temperature is None else config.temperature
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature) if temperature > 0 else -math.inf, dtype=torch.float32),
            requires_grad=config.temperature is None,
        )

    def make_optimizer(self, learning_rate: float | Tensor, *, capturable: bool = False) -> torch.optim.Adam:
        """Build Adam over everything that learns.

        Args:
            learning_rate: a float32 scalar on the parameters' device where it is to change between replays of a graph.
            capturable: whether a step can be captured in a CUDA graph.
        """
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        fused = not self.log_temperature.is_meta  # PyTorch knows no fused step for parameters without data.
        return torch.optim.Adam(learning, lr=learning_rate, fused=fused, capturable=capturable)

    def descend(
        self,
        critic: Tensor,
        critic_parts: Iterable[nn.Module],
        actor: Tensor,
        actor_parts: Iterable[nn.Module],
        entropy: Tensor,
    ) -> None:
        """Take one optimizer step: each loss moves its own parts alone, and the entropy a learned temperature.

        Args:
            critic: the critics' loss, and whatever else teaches ``critic_parts``.
            critic_parts: what it is to teach.
            actor: the actor's loss.
            actor_parts: what it is to teach.
            entropy: the policy's, (task, step), detached.
        """
        self.optimizer.zero_grad(set_to_none=True)
        critic.backward(inputs=[parameter for part in critic_parts for parameter in part.parameters()])
        actor.backward(inputs=[parameter for part in actor_parts for parameter in part.parameters()])
        if self.config.temperature is None:
            temperature_loss(self.log_temperature, entropy, self.target_entropy).backward()
        self.optimizer.step()

    @torch.no_grad()
    def follow(self, targets: Iterable[nn.Module], leaders: Iterable[nn.Module]) -> None:
        """Move a share of each parameter of ``leaders`` into its twin in ``targets``."""
        torch._foreach_lerp_(
            [parameter for part in targets for parameter in part.parameters()],
            [parameter for part in leaders for parameter in part.parameters()],
            self.config.target_update_rate,
        )
