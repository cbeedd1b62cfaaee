"""Comparison of a checkpoint's weights with its settings, before an agent takes memory."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from encoders.abbreviation import abbreviated
from pearl.algorithms import find_algorithm
from pearl.checkpoint.safetensors_header import Form
from pearl.config.run import Config

_SURPLUS = 100
"""Tensors that the settings may describe beyond those found; with more, no agent is built to compare"""


def check_weights(
    found: Mapping[str, Form], config: Config, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> None:
    """Compare weights with those of an agent that is built without memory for them.

    Args:
        found: the weights' forms by name.
        config: the settings that describe the agent.
        observation_space: of the agent.
        action_space: of the agent.

    Raises:
        ValueError: they differ; names the first three that do.
        TypeError, RuntimeError: the settings describe no agent.
    """
    algorithm = find_algorithm(config.algorithm)
    with torch.device("meta"), _at_most(len(found) + _SURPLUS):
        agent = algorithm.make_agent(observation_space, action_space, config, torch.Generator())
    expected = {name: Form.of(tensor) for name, tensor in agent.state_dict().items()}
    differing = [
        f"{abbreviated(name)} is {found.get(name, 'missing')}"
        + (f", where {expected[name]} belongs" if name in expected else ", for which there is no place")
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]
    if differing:
        further = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError("; ".join(differing[:3]) + further)


@contextmanager
def _at_most(n_parameters: int) -> Iterator[None]:
    """Refuse to build more parameters: a few digits of settings can ask for more layers than time allows."""
    thread, count = threading.get_ident(), 0

    def registered(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > n_parameters:
            raise ValueError(f"the settings describe more than {n_parameters} tensors, far more than are there")

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()
