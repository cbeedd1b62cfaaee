"""What flows between agents and the rollouts, replays and training loops around them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

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


class MetaBatch(NamedTuple):
    """One gradient step's data: several tasks, each with context and transitions drawn apart."""

    context: Context
    """(task, context step, …)"""
    transitions: Transitions
    """(task, step, …)"""


class ActionChoice(NamedTuple):
    """What an agent does in one step of every task."""

    action: Tensor
    """(task, action_dim), in the action space's units"""
    extras: Mapping[str, Tensor] = MappingProxyType({})
    """Per-task values (a log-probability, a value) that the rollout carries along, each (task, …)"""
