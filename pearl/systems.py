"""The ways of learning to learn: for each its settings, its agent, and how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch

from agents import PEARLAgent, RL2Agent, TransformerAgent
from pearl.config import Config, ConfigError, PEARLConfig, RL2Config, TransformerConfig
from pearl.training import MetaTraining, ReplayTraining, TrialTraining

MakeAgent = Callable[[gym.Space[Any], gym.Space[Any], Any, torch.Generator], Any]
"""Builds an agent of the observation space, the action space, the run's settings and what draws the weights"""


@dataclass(frozen=True)
class System:
    """A way of learning to learn."""

    description: str
    """What it is, in a line"""
    config: type[Config]
    make_agent: MakeAgent
    training: Callable[..., MetaTraining]


def _pearl(observations: gym.Space[Any], actions: gym.Space[Any], config: Any, rng: torch.Generator) -> PEARLAgent:
    return PEARLAgent(observations, actions, config.encoder, config.agent, rng)


def _trial_based(description: str, config: type[Config], agent: Callable[..., Any]) -> System:
    """Return the system of an agent that learns from its trials and reads none but the settings' section ``agent``."""

    def make_agent(observations: gym.Space[Any], actions: gym.Space[Any], settings: Any, rng: torch.Generator) -> Any:
        return agent(observations, actions, settings.agent, rng)

    return System(description, config, make_agent, TrialTraining)


SYSTEMS = {
    "pearl": System("belief over a task variable, off-policy (Rakelly 2019)", PEARLConfig, _pearl, ReplayTraining),
    "rl2": _trial_based("recurrent policy over whole trials (Duan 2016)", RL2Config, RL2Agent),
    "transformer": _trial_based("attention over whole trials (Melo 2022)", TransformerConfig, TransformerAgent),
}
"""By name; a system joins by a line here, a section in ``pearl.config`` and its agent"""


def find_system(name: str) -> System:
    """Return the system of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SYSTEMS:
        raise ConfigError(f"There is no agent {name!r}. Agents: {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]
