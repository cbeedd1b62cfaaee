"""Acting on a memory: a sequence model reads the trial's transitions and keeps its state between episodes."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from agents.base import NetworkAgent
from agents.config import LearningSettings
from agents.finite import check_memory
from agents.learning.reward_inputs import FixedRewards, RunningRewards
from agents.memories import Rows, leaves, where_rows
from agents.memory.sequence_models import SequenceModel
from agents.types import Transitions, Trials, check_transitions


class TrialMemory(NamedTuple):
    """Memory of a memory-based agent."""

    state: Rows
    """State of the sequence model, one row per task"""
    begins: Tensor
    """(task, 1), 1.0 where an episode is about to begin"""


class _Settings(LearningSettings, Protocol):
    @property
    def value_ends_at_termination(self) -> bool: ...


class TrialMemoryAgent(NetworkAgent[TrialMemory]):
    """Base class of agents whose memory is a sequence model's state (Duan et al. 2016).

    The memory is kept between episodes and starts empty in each trial. It reads each transition: observation, action,
    reward, and whether an episode began with it. The policy reads the memory and the current observation. In the first
    step of an episode, unlike in Duan et al., only the observation shows that the previous episode has ended.
    """

    config: _Settings
    memory: SequenceModel[Any]
    """Sequence model that acting uses"""
    reward_inputs: FixedRewards | RunningRewards
    """Rewards as the memory reads them"""

    @property
    def transition_width(self) -> int:
        """Width of a transition as the memory reads it."""
        return self.features.dim + self.actions.encoded_width + 2

    @torch.no_grad()
    def begin(self, n_tasks: int, rng: torch.Generator) -> TrialMemory:
        """Start ``n_tasks`` trials with an empty memory."""
        return TrialMemory(self.memory.begin(n_tasks), torch.ones(n_tasks, 1, dtype=torch.float32))

    @torch.no_grad()
    def observe(self, memory: TrialMemory, transition: Transitions, active: Tensor) -> TrialMemory:
        """Update the memory with one transition of each active task.

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
        """Mark the next step as the start of an episode for each task whose episode ended; the state is kept."""
        return memory._replace(begins=torch.where(ended.unsqueeze(-1), 1.0, memory.begins))

    def memory_inputs(self, features: Tensor, action: Tensor, reward: Tensor, begins: Tensor) -> Tensor:
        """Return transitions as inputs of a memory, (task, …, transition_width).

        Args:
            features: features of the observations, (task, …, features.dim).
            action: encoded actions, (task, …, encoded_width).
            reward: the true reward, (task, …).
            begins: 1.0 where an episode begins with the step, (task, …, 1).
        """
        return torch.cat([features, action, self.reward_inputs(reward.unsqueeze(-1)), begins], dim=-1)

    def value_ends(self, terminated: Tensor, mask: Tensor) -> Tensor:
        """Return where the value's sequence ends with a step: at the trial's end and, by a setting, at terminations.

        Args:
            terminated: (task, step) bool, whether the MDP ended with the step.
            mask: (task, step) bool; padding is at the end.

        Returns:
            (task, step) bool.
        """
        ends = mask & ~functional.pad(mask[:, 1:], (0, 1))
        return ends | (terminated & mask) if self.config.value_ends_at_termination else ends

    def value_sequences(self, trials: Trials) -> Trials:
        """Return trials whose ``ended`` marks where the value's sequence ends (``value_ends``)."""
        return trials._replace(ended=self.value_ends(trials.transitions.terminated.bool(), trials.mask))


def _only(active: Tensor, transition: Transitions) -> Transitions:
    """Return the transitions with zeros where ``active`` (task,) is False."""
    row = active.unsqueeze(-1)
    return Transitions(*(torch.where(row if field.dim() == 2 else active, field, 0.0) for field in transition))
