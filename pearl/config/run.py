"""Settings of a whole run, one class per algorithm, and the families' presets."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from agents import (
    AuxiliaryConfig,
    ExplorationConfig,
    GradientAgentConfig,
    LearningSettings,
    MAMLAgentConfig,
    PEARLAgentConfig,
    RecurrentSACAgentConfig,
    RL2AgentConfig,
    TransformerAgentConfig,
)
from encoders import ConfigError, EncoderConfig, Settings
from pearl.config.reading import from_mapping, read_yaml
from pearl.config.training import (
    CAPACITY,
    FEWEST_TASKS,
    LONGEST_CONTEXT,
    MOST_EPISODES,
    CollectionConfig,
    ContextConfig,
    RelabellingConfig,
    ReplayConfig,
    TrainingConfig,
    TrialReplayConfig,
    at_least,
    at_most,
)
from pearl.tasks.registry import preset_sharer

ConfigT = TypeVar("ConfigT", bound="Config")

CANDIDATES = 512
"""``training.relabelling.candidates`` where rewards are rare"""
EARLY_KL_WEIGHT = 0.003
"""``agent.auxiliary.early_kl_weight`` there"""


def _no() -> bool:
    return False


class TaskTraits(NamedTuple):
    """Traits of tasks from which settings follow: the arguments of ``Config.for_tasks``."""

    horizon: int
    drifting: bool
    continuous: bool
    rare_rewards: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Settings):
    """Settings of the few-shot evaluation.

    Raises:
        ConfigError: a setting of the wrong type or out of its range.
    """

    section: ClassVar[str] = "evaluation"
    n_test_tasks: int = 20
    """Held-out tasks, drawn once from the seed; the worst 5 % of tasks are reported from 20 on."""
    exploration_episodes: int = 2
    """Episodes in which the agent samples z and actions; afterwards it acts deterministically."""
    episodes: int = 3
    """Episodes of a test trial, exploration included; the last one gives the score."""
    interval: int = 10_000
    """Environment steps between evaluations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_test_tasks", "episodes", "interval"):
            at_least(1, "evaluation", name, getattr(self, name))
        at_least(0, "evaluation", "exploration_episodes", self.exploration_episodes)
        at_most(MOST_EPISODES, "evaluation", "episodes", self.episodes)
        if self.exploration_episodes >= self.episodes:
            raise ConfigError(
                f"evaluation.episodes ({self.episodes}) must exceed evaluation.exploration_episodes "
                f"({self.exploration_episodes}): the last episode is scored."
            )


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of a run, apart from its family and its seed. Each algorithm has its own sections.

    Raises:
        ConfigError: a section is not an instance of the algorithm's class for it, here and in every subclass.
    """

    algorithm: ClassVar[str]
    """The algorithm's name in ``pearl.algorithms.ALGORITHMS``"""
    agent: LearningSettings
    """The agent's settings."""
    training: CollectionConfig = field(default_factory=CollectionConfig)
    """Meta-training."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The few-shot evaluation protocol."""

    def for_tasks(
        self,
        horizon: int,
        *,
        drifting: bool = False,
        continuous: bool = True,
        rare_rewards: Callable[[], bool] = _no,
    ) -> Self:
        """Return the settings with what follows from the tasks filled in, where it is not set.

        Args:
            horizon: steps of an episode.
            drifting: whether tasks change within an episode.
            continuous: whether actions are continuous.
            rare_rewards: returns whether the family can compute rewards that a random policy hardly meets; called only
                if a setting depends on it.
        """
        filled = self._filled(TaskTraits(horizon, drifting, continuous, rare_rewards))
        training = dataclasses.replace(filled.training, n_train_tasks=self.training.n_tasks(horizon))
        if isinstance(training, ReplayConfig) and training.initial_policy is None:
            training = dataclasses.replace(training, initial_policy="random")
        return dataclasses.replace(filled, training=training)

    def _filled(self, tasks: TaskTraits) -> Self:
        """Return the settings with the algorithm's own filled in, where they are not set and follow from the tasks."""
        return self

    @classmethod
    def matching(cls, pearl: "PEARLConfig") -> Self:
        """Return this algorithm's defaults with the tasks and the evaluation protocol of a PEARL run."""
        base = from_mapping(cls, {})
        shared = {name: getattr(pearl.training, name) for name in ("n_train_tasks", "tasks_per_iteration", "workers")}
        training = dataclasses.replace(base.training, **shared, episodes_per_trial=pearl.evaluation.episodes)
        return dataclasses.replace(base, evaluation=pearl.evaluation, training=training)


@dataclass(frozen=True, kw_only=True)
class PEARLConfig(Config):
    """Settings of a PEARL run, apart from its family and its seed."""

    algorithm: ClassVar[str] = "pearl"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder q(z | c)."""
    agent: PEARLAgentConfig = field(default_factory=PEARLAgentConfig)
    """The z-conditioned soft actor-critic."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Collection and gradient steps."""

    def _filled(self, tasks: TaskTraits) -> Self:
        filled = self._searching(tasks)
        agent, training = filled.agent, filled.training
        if agent.auxiliary.task_inference_weight is None:
            stays, relabelled = not tasks.drifting, training.relabelling.candidates
            taught = stays and not relabelled and agent.reward_scale is None and self.encoder.kind != "blind"
            auxiliary = dataclasses.replace(agent.auxiliary, task_inference_weight=float(taught))
            agent = dataclasses.replace(agent, auxiliary=auxiliary)
        if self.encoder.kind == "blind":  # There is no posterior to follow.
            exploration = dataclasses.replace(agent.exploration, z_follows_posterior=False)
            agent = dataclasses.replace(agent, exploration=exploration)
        if agent.discount is None:
            agent = dataclasses.replace(agent, discount=min(0.99, max(0.9, 1.0 - 5.0 / tasks.horizon)))
        if training.context.max_length is None:
            length = min(LONGEST_CONTEXT, training.episodes_per_trial * tasks.horizon)
            context = dataclasses.replace(training.context, max_length=length)
            training = dataclasses.replace(training, context=context)
        return dataclasses.replace(filled, agent=agent, training=training)

    def _searching(self, tasks: TaskTraits) -> Self:
        """Return the settings with those filled in that depend on whether rewards have to be searched for."""
        exploration, auxiliary = self.agent.exploration, self.agent.auxiliary
        relabelling, training = self.training.relabelling, self.training
        able = self.encoder.kind != "blind" and self.agent.reward_scale is None and training.device == "cpu"
        unset = None in (exploration.sweep, auxiliary.early_kl_weight, relabelling.candidates, training.initial_policy)
        rare = able and unset and relabelling.candidates != 0 and tasks.rare_rewards()

        def where_unset(value: Any, searching: Any, otherwise: Any) -> Any:
            return value if value is not None else searching if rare else otherwise

        exploration = dataclasses.replace(exploration, sweep=where_unset(exploration.sweep, 1.0 / tasks.horizon, 0.0))
        weight = where_unset(auxiliary.early_kl_weight, EARLY_KL_WEIGHT, 0.0)
        auxiliary = dataclasses.replace(auxiliary, early_kl_weight=weight)
        candidates = where_unset(relabelling.candidates, CANDIDATES, 0)
        relabelling = dataclasses.replace(relabelling, candidates=candidates)
        policy = where_unset(training.initial_policy, "steady" if tasks.continuous else "random", "random")
        agent = dataclasses.replace(self.agent, exploration=exploration, auxiliary=auxiliary)
        training = dataclasses.replace(training, relabelling=relabelling, initial_policy=policy)
        return dataclasses.replace(self, agent=agent, training=training)


def _infers_nothing() -> EncoderConfig:
    return EncoderConfig(kind="blind", latent_dim=1)


@dataclass(frozen=True, kw_only=True)
class MultitaskSACConfig(PEARLConfig):
    """Settings of a run of multi-task SAC: PEARL's agent without a task variable, one policy for all tasks.

    Raises:
        ConfigError: the encoder is not blind.
    """

    algorithm: ClassVar[str] = "multitask_sac"
    encoder: EncoderConfig = field(default_factory=_infers_nothing)
    """The encoder; it must be blind."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder.kind != "blind":
            raise ConfigError(
                f"{self.algorithm} does not infer the task: encoder.kind must be blind, got {self.encoder.kind!r}. "
                "Use --algorithm pearl for inference."
            )

    @classmethod
    def matching(cls, pearl: PEARLConfig) -> Self:
        """Return a PEARL run's settings without those of inference."""
        agent = dataclasses.replace(
            pearl.agent, kl_weight=0.0, exploration=ExplorationConfig(), auxiliary=AuxiliaryConfig()
        )
        training = dataclasses.replace(
            pearl.training, context=ContextConfig(max_length=1), relabelling=RelabellingConfig()
        )
        return cls(encoder=_infers_nothing(), agent=agent, training=training, evaluation=pearl.evaluation)


@dataclass(frozen=True, kw_only=True)
class OracleSACConfig(MultitaskSACConfig):
    """Settings of multi-task SAC whose observations contain the task's parameters (``pearl.task_observed``)."""

    algorithm: ClassVar[str] = "oracle_sac"


@dataclass(frozen=True, kw_only=True)
class RL2Config(Config):
    """Settings of an RL² run, apart from its family and its seed."""

    algorithm: ClassVar[str] = "rl2"
    agent: RL2AgentConfig = field(default_factory=RL2AgentConfig)
    """The recurrent policy."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """Settings of a run with transformer memory, apart from its family and its seed."""

    algorithm: ClassVar[str] = "transformer"
    agent: TransformerAgentConfig = field(default_factory=TransformerAgentConfig)
    """The policy with attention over its trial."""


@dataclass(frozen=True, kw_only=True)
class RecurrentSACConfig(Config):
    """Settings of a run of recurrent soft actor-critic, apart from its family and its seed."""

    algorithm: ClassVar[str] = "recurrent_sac"
    agent: RecurrentSACAgentConfig = field(default_factory=RecurrentSACAgentConfig)
    """The recurrent soft actor-critic."""
    training: TrialReplayConfig = field(default_factory=TrialReplayConfig)
    """Collection and gradient steps."""

    @classmethod
    def matching(cls, pearl: PEARLConfig) -> Self:
        """Return this algorithm's settings with the tasks, the protocol and the replay of a PEARL run.

        The initial episodes form a trial as long as later trials, so that values of all trials are comparable.
        """
        base = super().matching(pearl)
        training = dataclasses.replace(
            base.training,
            initial_episodes=base.training.episodes_per_trial,
            replay_capacity=(pearl.training.replay_capacity or CAPACITY)
            * (pearl.training.n_train_tasks or FEWEST_TASKS),
            replay_budget_mb=pearl.training.replay_budget_mb,
        )
        return dataclasses.replace(base, training=training)


@dataclass(frozen=True, kw_only=True)
class MAMLConfig(Config):
    """Settings of a MAML run, apart from its family and its seed."""

    algorithm: ClassVar[str] = "maml"
    agent: MAMLAgentConfig = field(default_factory=MAMLAgentConfig)
    """The policy that adapts by gradient steps; learning differentiates through them."""


@dataclass(frozen=True, kw_only=True)
class FOMAMLConfig(MAMLConfig):
    """Settings of a first-order MAML run, apart from its family and its seed."""

    algorithm: ClassVar[str] = "fomaml"


@dataclass(frozen=True, kw_only=True)
class ReptileConfig(Config):
    """Settings of a Reptile run, apart from its family and its seed."""

    algorithm: ClassVar[str] = "reptile"
    agent: GradientAgentConfig = field(default_factory=GradientAgentConfig)
    """The policy that adapts by gradient steps; learning moves it towards the adapted policies."""


def load_preset(family: str) -> PEARLConfig:
    """Return a family's preset for PEARL, as ``preset`` does."""
    return preset(PEARLConfig, family)


def preset(kind: type[ConfigT], family: str) -> ConfigT:
    """Return a family's preset, else the preset that its pattern's families share, else the defaults.

    Other algorithms take tasks and protocol from PEARL's preset unless their own preset sets them, so that results are
    comparable. Multi-task SAC and oracle SAC also take all other settings that they share with PEARL.

    Args:
        kind: the algorithm's config class; each algorithm has its own presets.
        family: the family's name.
    """
    base = from_mapping(kind, {})
    folder = resources.files("pearl") / "presets"
    if kind is not PEARLConfig:
        base = kind.matching(load_preset(family))
        folder = folder / kind.algorithm
    # A lookup in the listing: a user's family name may not be valid in a path.
    files = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    for name in (family, preset_sharer(family) or family):
        if f"{name}.yaml" in files:
            return read_yaml(files[f"{name}.yaml"].read_text(), f"preset {name}", base)
    return base
