"""The table of algorithms: settings, agent and meta-training of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import gymnasium as gym
import torch
from torch import nn

from agents import (
    FOMAMLAgent,
    LearningAgent,
    MAMLAgent,
    PEARLAgent,
    RecurrentSACAgent,
    ReptileAgent,
    RL2Agent,
    TransformerAgent,
)
from agents.base import NetworkAgent
from encoders import ContextEncoder, UnregisteredError
from encoders.abbreviation import abbreviated
from encoders.registration import check_new_name, check_signature
from pearl.config.reading import ConfigError, from_mapping
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
from pearl.config.training import TrainingConfig
from pearl.tasks import Task, TaskDistribution, task_observed
from pearl.training.base import MetaTraining
from pearl.training.off_policy import ReplayTraining, TrialReplayTraining
from pearl.training.on_policy import TrialTraining

ConfigT = TypeVar("ConfigT", bound=Config)
AgentT = TypeVar("AgentT", bound=LearningAgent[Any])
AgentFactory = Callable[[gym.Space[Any], gym.Space[Any], ConfigT, torch.Generator], AgentT]
"""Builds an agent from the observation space, the action space, the run's settings and the weights' generator"""
TrainingFactory = Callable[[AgentT, TaskDistribution, Sequence[Task], ConfigT, int], MetaTraining[Any, Any]]
"""Builds meta-training from the agent, the task distribution, the training tasks, the run's settings and the seed"""

ACTING = ("begin", "act", "observe", "end_episode", "fold", "redraw")
LEARNING = ("update", "see", "set_learning_rate", "gradient_steps_per_trial", "normalises_observations", "optimizer")
SPACES = ("observation_space", "action_space", "observation_dim", "action_dim")
SETTINGS = ("learning_rate", "final_learning_rate", "reward_scale")


def _unchanged(distribution: TaskDistribution) -> TaskDistribution:
    return distribution


@dataclass(frozen=True)
class Algorithm:
    """A meta-RL algorithm."""

    description: str
    """One line for listings"""
    config: type[Config]
    """The class of a run's settings"""
    agent: AgentFactory[Any, Any]
    training: TrainingFactory[Any, Any]
    distribution: Callable[[TaskDistribution], TaskDistribution] = _unchanged
    """Replaces the family's task distribution before environments are made"""

    def make_agent(
        self, observations: gym.Space[Any], actions: gym.Space[Any], config: Config, rng: torch.Generator
    ) -> LearningAgent[Any]:
        """Build the agent.

        Args:
            observations: the observation space.
            actions: the action space.
            config: the run's settings.
            rng: draws the initial weights.

        Raises:
            TypeError: the factory does not return an ``agents.LearningAgent``.
        """
        agent: Any = self.agent(observations, actions, config, rng)
        lacking = [name for name in (*ACTING, *LEARNING, *SPACES) if not hasattr(agent, name)]
        if lacking or not isinstance(agent, nn.Module):
            raise TypeError(
                f"The agent of the algorithm {config.algorithm!r} must be an nn.Module and an agents.LearningAgent, "
                f"got a {type(agent).__name__}, which lacks {', '.join(lacking) or 'nn.Module'}. "
                f"agents.base.{NetworkAgent.__name__} has all of it except begin, act, observe, end_episode, update "
                "and the optimizer."
            )
        return cast(LearningAgent[Any], agent)


def _pearl(
    observations: gym.Space[Any], actions: gym.Space[Any], config: PEARLConfig, rng: torch.Generator
) -> PEARLAgent:
    return PEARLAgent(observations, actions, config.encoder, config.agent, rng)


def limit_evidence(agent: object, config: Config, horizon: int) -> None:
    """Limit the evidence in an agent's posterior, if it has one, to the longest context of training and evaluation.

    Args:
        agent: the agent.
        config: the run's settings.
        horizon: steps of an episode.
    """
    encoder = getattr(agent, "encoder", None)
    if isinstance(encoder, ContextEncoder) and isinstance(config.training, TrainingConfig):
        encoder.evidence_limit = max(config.training.longest_context, config.evaluation.episodes * horizon)


def _trial_based(
    description: str,
    config: type[Config],
    agent: Callable[..., LearningAgent[Any]],
    training: TrainingFactory[Any, Any] = TrialTraining,
) -> Algorithm:
    """Return the algorithm of an agent that learns from trials and needs only the settings' section ``agent``."""

    def make_agent(
        observations: gym.Space[Any], actions: gym.Space[Any], settings: Config, rng: torch.Generator
    ) -> LearningAgent[Any]:
        return agent(observations, actions, settings.agent, rng)

    return Algorithm(description, config, make_agent, training)


def _gradient_based(
    description: str, config: type[MAMLConfig | ReptileConfig], agent: Callable[..., LearningAgent[Any]]
) -> Algorithm:
    """Return the algorithm of an agent that adapts by gradient steps; trials must continue after the last step."""

    def make_agent(
        observations: gym.Space[Any],
        actions: gym.Space[Any],
        settings: MAMLConfig | ReptileConfig,
        rng: torch.Generator,
    ) -> LearningAgent[Any]:
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
        return agent(observations, actions, settings.agent, rng)

    return Algorithm(description, config, make_agent, TrialTraining)


ALGORITHMS: dict[str, Algorithm] = {
    "pearl": Algorithm("belief over a task variable, off-policy (Rakelly 2019)", PEARLConfig, _pearl, ReplayTraining),
    "maml": _gradient_based("gradient steps on whole episodes (Finn 2017)", MAMLConfig, MAMLAgent),
    "fomaml": _gradient_based("MAML to first order (Finn 2017)", FOMAMLConfig, FOMAMLAgent),
    "reptile": _gradient_based("towards every task's own policy (Nichol 2018)", ReptileConfig, ReptileAgent),
    "rl2": _trial_based("recurrent policy over whole trials (Duan 2016)", RL2Config, RL2Agent),
    "transformer": _trial_based("attention over whole trials (Melo 2022)", TransformerConfig, TransformerAgent),
    "multitask_sac": Algorithm(
        "SAC that infers nothing: the baseline without adaptation", MultitaskSACConfig, _pearl, ReplayTraining
    ),
    "oracle_sac": Algorithm(
        "SAC that observes the task: the upper reference", OracleSACConfig, _pearl, ReplayTraining, task_observed
    ),
    "recurrent_sac": _trial_based(
        "recurrent policy over trials, off-policy (Ni 2022)",
        RecurrentSACConfig,
        RecurrentSACAgent,
        TrialReplayTraining,
    ),
}
"""The algorithms by name"""


def register_algorithm(
    name: str,
    *,
    config: type[ConfigT],
    agent: AgentFactory[ConfigT, AgentT],
    training: TrainingFactory[AgentT, ConfigT],
    description: str = "",
    distribution: Callable[[TaskDistribution], TaskDistribution] = _unchanged,
) -> None:
    """Make an algorithm available by name: to ``pearl.MetaLearner``, checkpoints, ``train.py`` and ``compare.py``.

    Args:
        name: a word, as given on the command line and kept in checkpoints: letters, digits, ``_`` and ``-``.
        config: the class of a run's settings, with ``algorithm: ClassVar[str]`` as ``name``. Every section has a
            default.
        agent: builds the agent from the observation space, the action space, the run's settings and the generator that
            draws the initial weights.
        training: class of meta-training: ``pearl.ReplayTraining`` for an agent that learns from a ``MetaBatch``,
            ``pearl.TrialReplayTraining`` for a ``TrialBatch``, ``pearl.TrialTraining`` for ``Trials``; or your own.
        description: one line for listings.
        distribution: replaces a family's task distribution before the algorithm's environments are made.

    Raises:
        ValueError: the name is taken, is not such a word, or is not the config's.
        TypeError: an argument has the wrong type, or the config's section ``agent`` lacks settings of meta-training.
        ConfigError: ``training`` does not accept the config's section ``training``.
    """
    check_new_name(name, ALGORITHMS, "algorithm")
    whose = f"the algorithm {name!r}"
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise TypeError(f"The config of {whose} must be a subclass of pearl.Config, got {abbreviated(config)}.")
    named = getattr(config, "algorithm", None)
    if named != name:
        raise ValueError(
            f'{config.__name__}.algorithm must be {name!r}, got {named!r}: algorithm: ClassVar[str] = "…".'
        )
    try:
        defaults = from_mapping(config, {})
    except TypeError as error:
        raise TypeError(
            f"{config.__name__} must be built without arguments ({error}): give its section agent a default_factory."
        ) from error
    lacking = [setting for setting in SETTINGS if not hasattr(defaults.agent, setting)]
    if lacking:
        raise TypeError(
            f"{type(defaults.agent).__name__}, the section agent of {config.__name__}, lacks {', '.join(lacking)}, "
            "which meta-training needs."
        )
    check_signature(agent, ("observation_space", "action_space", "config", "rng"), f"The agent of {whose}")
    if not (isinstance(training, type) and issubclass(training, MetaTraining)):
        raise TypeError(
            f"The training of {whose} must be a class of meta-training (pearl.ReplayTraining, "
            f"pearl.TrialReplayTraining, pearl.TrialTraining), got {abbreviated(training)}."
        )
    training.check_section(defaults)
    check_signature(distribution, ("distribution",), f"The distribution of {whose}")
    ALGORITHMS[name] = Algorithm(description, config, agent, training, distribution)


def find_algorithm(name: str) -> Algorithm:
    """Return the algorithm of that name.

    Raises:
        UnregisteredError: no algorithm has this name.
    """
    if name not in ALGORITHMS:
        raise UnregisteredError(f"There is no algorithm {name!r}. Algorithms: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
