"""Comparison of a checkpoint's weights with its settings, before any memory is allocated for them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from agents import LearningAgent, PEARLAgent
from agents.context.changes import ChangeDetector
from encoders.abbreviation import abbreviated
from pearl.adaptation.familiarity import MOST_COUNTS, MOST_TRIALS
from pearl.algorithms import find_algorithm
from pearl.checkpoint.safetensors_header import Form
from pearl.config.run import Config
from pearl.model.saving import CHANGES, FAMILIARITY

_SURPLUS = 100
"""Most tensors that the settings may describe in excess of those found"""


def check_weights(
    found: Mapping[str, Form], config: Config, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> None:
    """Compare dtypes and shapes of weights with those of an agent built from the settings, without allocating memory.

    Args:
        found: dtypes and shapes of the weights, by name.
        config: the agent's settings.
        observation_space: the agent's observation space.
        action_space: the agent's action space.

    Raises:
        ValueError: tensors differ; the message names the first three.
        TypeError, RuntimeError: no agent can be built from the settings.
    """
    with torch.device("meta"), _at_most(len(found) + _SURPLUS):
        agent = _agent(config, observation_space, action_space)
    _compare(found, agent.state_dict())


def check_learnt_of_beliefs(
    group: str,
    found: Mapping[str, Form],
    config: Config,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> None:
    """Compare what was learnt of an agent's beliefs, a group of ``OF_BELIEFS``, as ``check_weights`` does.

    Raises:
        ValueError: tensors differ, or the agent infers no task.
    """
    with torch.device("meta"):
        agent = _agent(config, observation_space, action_space)
        if not isinstance(agent, PEARLAgent):
            raise ValueError(f"{config.algorithm} has no beliefs")
        _compare(found, OF_BELIEFS[group](agent, found))


def _of_change_detector(agent: PEARLAgent, found: Mapping[str, Form]) -> Mapping[str, Tensor]:
    detector: Mapping[str, Tensor] = ChangeDetector(agent, torch.Generator()).state_dict()
    return detector


def _of_familiarity(agent: PEARLAgent, found: Mapping[str, Form]) -> Mapping[str, Tensor]:
    # The number of beliefs is free, within limits.
    shape = found["mean"].shape if "mean" in found else ()
    counts, trials = shape[:2] if len(shape) == 3 else (2, 2)
    n_counts, n_trials = min(max(counts, 2), MOST_COUNTS), min(max(trials, 2), MOST_TRIALS)
    beliefs = torch.zeros(n_counts, n_trials, agent.encoder.latent_dim, dtype=torch.float32)
    numbers = {"counts": torch.zeros(n_counts, dtype=torch.int64), "task": torch.zeros(n_trials, dtype=torch.int64)}
    return {"mean": beliefs, "stddev": beliefs, **numbers}


OF_BELIEFS: dict[str, Callable[[PEARLAgent, Mapping[str, Form]], Mapping[str, Tensor]]] = {
    CHANGES: _of_change_detector,
    FAMILIARITY: _of_familiarity,
}
"""Functions that return tensors of the form that a group of a checkpoint must have, by the group's name"""


def _agent(config: Config, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> LearningAgent[Any]:
    return find_algorithm(config.algorithm).make_agent(observation_space, action_space, config, torch.Generator())


def _compare(found: Mapping[str, Form], tensors: Mapping[str, Tensor]) -> None:
    expected = {name: Form.of(tensor) for name, tensor in tensors.items()}
    differing = [
        f"{abbreviated(name)} is {found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]
    if differing:
        further = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError("; ".join(differing[:3]) + further)


@contextmanager
def _at_most(n_parameters: int) -> Iterator[None]:
    """Refuse to build more parameters: an untrusted setting may ask for millions of layers."""
    thread, count = threading.get_ident(), 0

    def registered(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > n_parameters:
            raise ValueError(f"the settings describe more than {n_parameters} tensors, far more than the file holds")

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()
