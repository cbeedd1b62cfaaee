"""The protocol that rollouts, evaluation and adaptation speak with every meta-learner."""

from typing import Any, Protocol, TypeVar

import gymnasium as gym
import torch
from torch import Tensor

from agents.types import ActionChoice, Transitions

MemoryT = TypeVar("MemoryT")
"""What an agent knows of the tasks it is acting in: explicit, one row per task, never kept in the agent."""


class MetaAgent(Protocol[MemoryT]):
    """An agent that learns within a trial: several episodes of one task, for many tasks side by side.

    PEARL's memory is a belief and a sample of z, a recurrent agent's is a hidden state, a plain policy's is empty.
    """

    def begin(self, n_tasks: int, rng: torch.Generator) -> MemoryT:
        """Return the memory of ``n_tasks`` new trials, before anything was seen."""
        ...

    def act(self, observation: Tensor, memory: MemoryT, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Choose one action per task.

        Args:
            observation: (task, observation_dim).
            memory: one row per task.
            deterministic: (task,) bool; where True the agent takes its best guess and samples nothing.
            rng: the source of every random draw.
        """
        ...

    def observe(self, memory: MemoryT, transition: Transitions, active: Tensor) -> MemoryT:
        """Return the memory after one transition of each task where ``active`` (task,) is True."""
        ...

    def end_episode(self, memory: MemoryT, ended: Tensor, rng: torch.Generator) -> MemoryT:
        """Return the memory at the start of the next episode of each task where ``ended`` (task,) is True."""
        ...


class Deployable(MetaAgent[MemoryT], Protocol[MemoryT]):
    """A meta-trained agent, which adapts to environments of its spaces and whose memory can be handed on."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def read(self, memory: MemoryT) -> MemoryT:
        """Return the memory with everything taken in that was put off."""
        ...

    def redraw(self, memory: MemoryT, rng: torch.Generator) -> MemoryT:
        """Return the memory with new draws in the place of those it holds for later episodes."""
        ...


class MemorylessAgent:
    """Shared part of agents that keep nothing of a trial: a random policy, a policy that is told the task."""

    def begin(self, n_tasks: int, rng: torch.Generator) -> None:
        """Return the empty memory."""

    def observe(self, memory: None, transition: Transitions, active: Tensor) -> None:
        """Return the empty memory."""

    def end_episode(self, memory: None, ended: Tensor, rng: torch.Generator) -> None:
        """Return the empty memory."""
