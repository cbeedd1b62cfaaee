"""Data exchanged between agents, rollouts, replays and training."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from encoders import Context


class Transitions(NamedTuple):
    """Transitions of several tasks: (task, dim) for one step of each, or (task, step, dim)."""

    observation: Tensor
    """(task, …, observation_dim)"""
    action: Tensor
    """(task, …, action_dim), in the action space's units"""
    reward: Tensor
    """(task, …); the true reward when observing, the training reward in a batch for the critic"""
    next_observation: Tensor
    """(task, …, observation_dim)"""
    terminated: Tensor
    """(task, …), 1.0 where the MDP ended; a time limit is 0.0 and still bootstraps"""


TASK_NUMBERS = 32
"""Width of a task's description in a ``MetaBatch``"""


class MetaBatch(NamedTuple):
    """Data of one gradient step: for several tasks, a context and transitions, drawn independently."""

    context: Context
    """(task, context step, …)"""
    transitions: Transitions
    """(task, step, …)"""
    early_context: Context | None = None
    """(task, early step, …), an earlier context, read before ``context`` and drawn independently of it"""
    task_numbers: Tensor | None = None
    """(task, ``TASK_NUMBERS``), numbers that describe each task"""


class Trials(NamedTuple):
    """Whole trials of several tasks, played by the agent that learns from them, padded to the longest."""

    transitions: Transitions
    """(task, step, …); the true reward"""
    training_reward: Tensor
    """(task, step), the reward to maximise"""
    ended: Tensor
    """(task, step) bool, whether an episode ended with the step"""
    mask: Tensor
    """(task, step) bool; False marks padding, which is at the end"""
    extras: Mapping[str, Tensor]
    """Extras of the agent's choices, each (task, step, …)"""

    def of(self, tasks: Tensor) -> "Trials":
        """Return the trials of the tasks with the indices ``tasks``, (chosen,) int64."""
        return Trials(
            Transitions(*(field[tasks] for field in self.transitions)),
            self.training_reward[tasks],
            self.ended[tasks],
            self.mask[tasks],
            {name: extra[tasks] for name, extra in self.extras.items()},
        )


class TrialBatch(NamedTuple):
    """Data of one gradient step on trials from a replay: whole trials or parts, padded to the longest.

    Next observations are omitted: the observation after a step is that of the next step, or of the next episode.
    """

    observation: Tensor
    """(trial, step, observation_dim)"""
    action: Tensor
    """(trial, step, action_dim), in the action space's units"""
    reward: Tensor
    """(trial, step), the true reward, an input of the memory"""
    training_reward: Tensor
    """(trial, step), the reward to maximise"""
    ended: Tensor
    """(trial, step) bool, whether an episode ended with the step"""
    terminated: Tensor
    """(trial, step) bool, whether the MDP ended with the step; False at a time limit"""
    mask: Tensor
    """(trial, step) bool; False marks padding, which is at the end"""
    learnt: Tensor
    """(trial, step) bool, the steps to learn from: those of ``mask`` except the last step of a part, which only gives
    the value after the step before it"""


def episode_begins(ended: Tensor) -> Tensor:
    """Return whether an episode begins with each step, (task, step) bool; ``ended`` is whether one ended with it."""
    return torch.cat([torch.ones_like(ended[:, :1]), ended[:, :-1]], dim=1)


class ActionChoice(NamedTuple):
    """An agent's choice of one action per task."""

    action: Tensor
    """(task, action_dim), in the action space's units"""
    extras: Mapping[str, Tensor] = MappingProxyType({})
    """Per-task values (a log-probability, a value) that the rollout carries along, each (task, …)"""


def check_transitions(
    transitions: Transitions, observation_dim: int, action_dim: int, rows: tuple[int, ...] | None = None
) -> None:
    """Check the shapes of transitions: a wrong shape could broadcast without an error.

    Args:
        transitions: transitions of several tasks.
        observation_dim: width of an observation.
        action_dim: width of an action.
        rows: leading dimensions; if None, the (task, step) of the observations.

    Raises:
        ValueError: a field has another shape; the message names the field, the shape expected and the shape found.
    """
    if rows is None:
        rows = tuple(transitions.observation.shape[:2])
    observation = (*rows, observation_dim)
    _check_shapes(transitions, (observation, (*rows, action_dim), rows, observation, rows))


def check_trial_batch(batch: TrialBatch, observation_dim: int, action_dim: int) -> None:
    """Check the shapes of a batch of trials, as ``check_transitions`` does.

    Args:
        batch: several trials.
        observation_dim: width of an observation.
        action_dim: width of an action.

    Raises:
        ValueError: a field has another shape; the message names the field, the shape expected and the shape found.
    """
    rows = tuple(batch.mask.shape[:2])
    _check_shapes(batch, ((*rows, observation_dim), (*rows, action_dim), *[rows] * (len(batch) - 2)))


def _check_shapes(given: Transitions | TrialBatch, expected: tuple[tuple[int, ...], ...]) -> None:
    if [field.shape for field in given] == [*expected]:
        return
    for field, found, shape in zip(given._fields, given, expected, strict=True):
        if found.shape != shape:
            raise ValueError(f"{type(given).__name__}.{field} must have the shape {shape}, got {tuple(found.shape)}.")
