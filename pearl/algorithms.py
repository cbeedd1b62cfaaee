"""The algorithms: for each its settings, its agent, and how it is trained."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch

from agents import FOMAMLAgent, MAMLAgent, PEARLAgent, RecurrentSACAgent, ReptileAgent, RL2Agent, TransformerAgent
from pearl.config.reading import ConfigError
from pearl.config.run import (
    Config,
    FOMAMLConfig,
    MAMLConfig,
    MultitaskSACConfig,
    OracleSACConfig,
    PEARLConfig,
    RecurrentSACConfig,
    ReptileConfig,
    RL2Config,
    TransformerConfig,
)
from pearl.tasks import TaskDistribution, task_observed
from pearl.training.base import MetaTraining
from pearl.training.off_policy import ReplayTraining, TrialReplayTraining
from pearl.training.on_policy import TrialTraining

MakeAgent = Callable[[gym.Space[Any], gym.Space[Any], Any, torch.Generator], Any]
"""Builds an agent of the observation space, the action space, the run's settings and what draws the weights"""


def _as_it_is(distribution: TaskDistribution) -> TaskDistribution:
    return distribution


@dataclass(frozen=True)
class Algorithm:
    """A meta-RL algorithm."""

    description: str
    """What it is, in a line"""
    config: type[Config]
    make_agent: MakeAgent
    training: Callable[..., MetaTraining]
    distribution: Callable[[TaskDistribution], TaskDistribution] = _as_it_is
    """What it makes of the family's tasks before anything else is made of them"""


def _pearl(observations: gym.Space[Any], actions: gym.Space[Any], config: Any, rng: torch.Generator) -> PEARLAgent:
    return PEARLAgent(observations, actions, config.encoder, config.agent, rng)


def _trial_based(
    description: str,
    config: type[Config],
    agent: Callable[..., Any],
    training: Callable[..., MetaTraining] = TrialTraining,
) -> Algorithm:
    """Return the algorithm of an agent that learns from trials and reads none but the settings' section ``agent``."""

    def make_agent(observations: gym.Space[Any], actions: gym.Space[Any], settings: Any, rng: torch.Generator) -> Any:
        return agent(observations, actions, settings.agent, rng)

    return Algorithm(description, config, make_agent, training)


def _gradient_based(description: str, config: type[Config], agent: Callable[..., Any]) -> Algorithm:
    """Return the algorithm of an agent that adapts by gradient steps; its trials must go on after the last of them."""
    algorithm = _trial_based(description, config, agent)

    def make_agent(observations: gym.Space[Any], actions: gym.Space[Any], settings: Any, rng: torch.Generator) -> Any:
        adapting = settings.agent.adaptations * settings.agent.inner_episodes
        for name, episodes in (
            ("training.episodes_per_trial", settings.training.episodes_per_trial - 1),
            ("evaluation.exploration_episodes", settings.evaluation.exploration_episodes),
        ):
            if episodes < adapting:
                raise ConfigError(
                    f"{settings.algorithm} adapts {settings.agent.adaptations} times, after "
                    f"{settings.agent.inner_episodes} episodes each (agent.adaptations, agent.inner_episodes). "
                    f"{name} must be at least {adapting + (name != 'evaluation.exploration_episodes')}."
                )
        return algorithm.make_agent(observations, actions, settings, rng)

    return dataclasses.replace(algorithm, make_agent=make_agent)


ALGORITHMS = {
    "pearl": Algorithm("belief over a task variable, off-policy (Rakelly 2019)", PEARLConfig, _pearl, ReplayTraining),
    "maml": _gradient_based("gradient steps on whole episodes (Finn 2017)", MAMLConfig, MAMLAgent),
    "fomaml": _gradient_based("MAML to first order (Finn 2017)", FOMAMLConfig, FOMAMLAgent),
    "reptile": _gradient_based("towards every task's own policy (Nichol 2018)", ReptileConfig, ReptileAgent),
    "rl2": _trial_based("recurrent policy over whole trials (Duan 2016)", RL2Config, RL2Agent),
    "transformer": _trial_based("attention over whole trials (Melo 2022)", TransformerConfig, TransformerAgent),
    "multitask_sac": Algorithm(
        "SAC that infers nothing: the floor of adapting", MultitaskSACConfig, _pearl, ReplayTraining
    ),
    "oracle_sac": Algorithm(
        "SAC that observes the task: the ceiling", OracleSACConfig, _pearl, ReplayTraining, task_observed
    ),
    "recurrent_sac": _trial_based(
        "recurrent policy over trials, off-policy (Ni 2022)",
        RecurrentSACConfig,
        RecurrentSACAgent,
        TrialReplayTraining,
    ),
}
"""By name; an algorithm joins by a line here, a section in ``pearl.config.run`` and its agent"""


def find_algorithm(name: str) -> Algorithm:
    """Return the algorithm of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in ALGORITHMS:
        raise ConfigError(f"There is no algorithm {name!r}. Algorithms: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
