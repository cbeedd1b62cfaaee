"""Reference policies: random ones, and an oracle that knows the task. They define the ends of the normalised score."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from agents import ActionChoice, MemorylessAgent, Transitions
from agents.spaces import discrete_actions, is_discrete
from pearl.tasks import Task, TaskDistribution


class RandomAgent(MemorylessAgent):
    """A ``MetaAgent`` that draws a uniform action from a bounded Box or a finite set at each step."""

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self._choices: Tensor | None = None
        if is_discrete(action_space):
            self._choices = torch.from_numpy(discrete_actions(action_space))
        else:
            assert isinstance(action_space, gym.spaces.Box)
            self._low = torch.as_tensor(action_space.low, dtype=torch.float32).flatten()
            self._high = torch.as_tensor(action_space.high, dtype=torch.float32).flatten()

    def act(self, observation: Tensor, memory: None, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Draw a uniform action for each task."""
        if self._choices is not None:
            return ActionChoice(self._choices[torch.randint(len(self._choices), (len(observation),), generator=rng)])
        uniform = torch.rand((len(observation), len(self._low)), generator=rng, dtype=torch.float32)
        return ActionChoice(self._low + uniform * (self._high - self._low))


class ConstantActionAgent:
    """A ``MetaAgent`` that repeats one random action throughout an episode, and so moves far from the start.

    Its memory is each task's action, (task, action_dim).
    """

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self._random = RandomAgent(action_space)

    def begin(self, n_tasks: int, rng: torch.Generator) -> Tensor:
        """Draw each task's first action."""
        nothing = torch.empty(n_tasks, 0)
        return self._random.act(nothing, None, nothing, rng).action

    def act(self, observation: Tensor, memory: Tensor, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Return each task's action of the episode."""
        return ActionChoice(memory)

    def observe(self, memory: Tensor, transition: Transitions, active: Tensor) -> Tensor:
        """Return the memory unchanged."""
        return memory

    def end_episode(self, memory: Tensor, ended: Tensor, rng: torch.Generator) -> Tensor:
        """Draw a new action for each task whose episode ended."""
        return torch.where(ended.unsqueeze(-1), self.begin(len(memory), rng), memory)


class OracleAgent(MemorylessAgent):
    """A ``MetaAgent`` that knows each task and acts by the family's ``oracle_action``."""

    def __init__(self, distribution: TaskDistribution, tasks: Sequence[Task]) -> None:
        self.distribution = distribution
        self.tasks = tasks

    def act(self, observation: Tensor, memory: None, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Return each task's oracle action."""
        action = self.distribution.oracle_action(self.tasks, observation.numpy())
        assert action is not None
        return ActionChoice(torch.from_numpy(np.asarray(action, np.float32).reshape(len(observation), -1)))
