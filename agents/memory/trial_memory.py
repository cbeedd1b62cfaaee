"""Acting by memory: a sequence model reads the trial's transitions, and what it keeps of them outlasts episodes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.base import NetworkAgent
from agents.config import LearningSettings
from agents.finite import check_memory
from agents.memories import Rows, leaves, where_rows
from agents.memory.sequence_models import SequenceModel
from agents.types import Transitions, check_transitions


class TrialMemory(NamedTuple):
    """Memory of a memory-based agent."""

    state: Rows
    """The sequence model's, a row per task"""
    begins: Tensor
    """(task, 1), 1.0 where an episode is about to begin"""


class TrialMemoryAgent(NetworkAgent[TrialMemory]):
    """Shared part of agents that act on what a sequence model remembers of the trial (Duan et al. 2016).

    The memory outlasts episodes and is new for each trial. It reads each transition (observation, action, reward,
    whether an episode began with it); the policy reads the memory and the present observation. So in an episode's first
    step, unlike Duan et al.'s, it has but the observation to tell it that another episode ended.
    """

    config: LearningSettings
    memory: SequenceModel[Any]
    """Sequence model with which acting remembers a trial"""

    @property
    def transition_width(self) -> int:
        """Numbers of a transition as a memory reads it."""
        return self.features.dim + self.actions.encoded_width + 2

    @torch.no_grad()
    def begin(self, n_tasks: int, rng: torch.Generator) -> TrialMemory:
        """Start ``n_tasks`` trials: nothing is remembered."""
        return TrialMemory(self.memory.begin(n_tasks), torch.ones(n_tasks, 1, dtype=torch.float32))

    @torch.no_grad()
    def observe(self, memory: TrialMemory, transition: Transitions, active: Tensor) -> TrialMemory:
        """Remember one transition of each active task.

        Raises:
            ValueError: a field of the transition has the wrong shape, or ``active`` is not bool.
            NonFiniteError: the memory would not be finite.
        """
        if active.dtype != torch.bool:
            raise ValueError(f"active must be a bool tensor of shape (task,), got {active.dtype}.")
        check_transitions(transition, self.observation_dim, self.action_dim, tuple(active.shape))
        row, everyone = active.unsqueeze(-1), bool(active.all())
        present = transition if everyone else _only(active, transition)
        features, action = self.features(present.observation), self.actions.encode(present.action)
        state = self.memory.step(memory.state, self.memory_inputs(features, action, present.reward, memory.begins))
        if not everyone:
            state = where_rows(active, state, memory.state)
        check_memory("The memory", leaves(state), present)
        return TrialMemory(state, torch.where(row, 0.0, memory.begins))

    def end_episode(self, memory: TrialMemory, ended: Tensor, rng: torch.Generator) -> TrialMemory:
        """Note that the next step begins an episode, for each task whose last one ended; all else is kept."""
        return memory._replace(begins=torch.where(ended.unsqueeze(-1), 1.0, memory.begins))

    def memory_inputs(self, features: Tensor, action: Tensor, reward: Tensor, begins: Tensor) -> Tensor:
        """Return transitions as a memory reads them, (task, …, transition_width).

        Args:
            features: of the observations, (task, …, features.dim).
            action: encoded, (task, …, encoded_width).
            reward: the true reward, (task, …).
            begins: 1.0 where an episode begins with the step, (task, …, 1).
        """
        return torch.cat([features, action, self.config.reward_scale * reward.unsqueeze(-1), begins], dim=-1)


def _only(active: Tensor, transition: Transitions) -> Transitions:
    """Return a transition of each task with zeros where ``active`` (task,) is False."""
    row = active.unsqueeze(-1)
    return Transitions(*(torch.where(row if field.dim() == 2 else active, field, 0.0) for field in transition))
