"""Settings of a whole run, a class for each system, and the families' presets."""

import dataclasses
import math
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, ClassVar, Literal, Self, TypeVar

from agents import (
    GradientAgentConfig,
    MAMLAgentConfig,
    PEARLAgentConfig,
    RL2AgentConfig,
    TransformerAgentConfig,
)
from encoders import EncoderConfig
from pearl.config_reading import ConfigError, from_mapping, read_yaml
from pearl.tasks.registry import preset_sharer

ConfigT = TypeVar("ConfigT", bound="Config")


@dataclass(frozen=True, kw_only=True)
class CollectionConfig:
    """Settings of meta-training that every system shares."""

    total_steps: int = 100_000
    """Length of meta-training, in environment steps."""
    n_train_tasks: int = 80
    """Training tasks, drawn once from the seed."""
    tasks_per_iteration: int | None = None
    """Tasks that collect a trial in each iteration; all where None."""
    episodes_per_trial: int = 2
    """Episodes in a collected trial: the first knows nothing of the task, the next what the first taught."""
    workers: int = 0
    """Worker processes that step the environments, in training and evaluation; 0 steps them in this process, which is
    faster unless a step takes about a millisecond or more."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "n_train_tasks", "episodes_per_trial"):
            _at_least(1, "training", name, getattr(self, name))
        _at_least(0, "training", "workers", self.workers)
        if self.tasks_per_iteration is not None:
            _at_least(1, "training", "tasks_per_iteration", self.tasks_per_iteration)
            if self.tasks_per_iteration > self.n_train_tasks:
                raise ConfigError(
                    f"training.tasks_per_iteration ({self.tasks_per_iteration}) must not exceed "
                    f"training.n_train_tasks ({self.n_train_tasks})."
                )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(CollectionConfig):
    """Settings of meta-training from a replay."""

    initial_episodes: int = 1
    """Episodes of a random policy per training task before the first gradient step."""
    initial_policy: Literal["random", "steady"] = "random"
    """What acts in the initial episodes: a new uniform action at each step, or one that is held for an episode."""
    gradient_steps_per_env_step: float = 0.1
    """Gradient steps per collected environment step."""
    meta_batch: int = 16
    """Tasks in a gradient step."""
    batch_size: int = 64
    """Transitions per task for the actor and the critics in a gradient step."""
    max_context: int = 60
    """Longest context in training, in transitions; of a longer one the newest count."""
    random_context_length: bool = False
    """Whether contexts are cut to their newest transitions, log-uniformly from 1 to max_context of them; where not, a
    context is all that was seen of a trial at some moment, which is seldom little where trials are long."""
    recent_context: int | None = None
    """Newest transitions per task at which contexts end; contexts come from the whole replay where None."""
    relabel_candidates: int = 0
    """Transitions of any task, drawn at each gradient step, among which every task seeks one that it rewards for its
    context to end with; 0 trains each task on its own trials, without relabelling."""
    rewarded_context: int = 20
    """Transitions of a relabelled context, up to the rewarded one; max_context is that of the early one before it."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where gradient steps are taken and the replay lies; cuda is an NVIDIA GPU. Acting stays on the CPU."""
    replay_capacity: int = 10_000
    """Transitions kept per task."""
    replay_budget_mb: int = 1_024
    """Memory that the replay may take on its device, in MiB; a larger one is refused before it is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "meta_batch",
            "batch_size",
            "max_context",
            "rewarded_context",
            "replay_capacity",
            "replay_budget_mb",
        ):
            _at_least(1, "training", name, getattr(self, name))
        _at_least(0, "training", "initial_episodes", self.initial_episodes)
        _at_least(0, "training", "relabel_candidates", self.relabel_candidates)
        _at_least(0, "training", "gradient_steps_per_env_step", self.gradient_steps_per_env_step)
        if self.random_context_length and self.relabel_candidates > 0:
            raise ConfigError(
                "training.random_context_length has no effect on relabelled contexts, which end at a rewarded "
                "transition. Set it to false, or training.relabel_candidates to 0."
            )
        if self.device not in ("cpu", "cuda"):
            raise ConfigError(f"training.device must be cpu or cuda, got {self.device!r}.")
        if self.device == "cuda" and self.relabel_candidates > 0:
            raise ConfigError(
                "training.relabel_candidates computes rewards on the CPU in every gradient step, for which a GPU would "
                "have to wait. Set training.device to cpu, or training.relabel_candidates to 0."
            )
        if self.recent_context is not None:
            _at_least(1, "training", "recent_context", self.recent_context)
        if self.meta_batch > self.n_train_tasks:
            raise ConfigError(
                f"training.meta_batch ({self.meta_batch}) must not exceed training.n_train_tasks "
                f"({self.n_train_tasks})."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Settings of the few-shot evaluation."""

    n_test_tasks: int = 20
    """Held-out tasks, drawn once from the seed."""
    exploration_episodes: int = 2
    """Episodes in which the agent samples z and actions; afterwards it acts deterministically."""
    episodes: int = 3
    """Episodes of a test trial, exploration included; the last one gives the score."""
    interval: int = 10_000
    """Environment steps between evaluations."""

    def __post_init__(self) -> None:
        for name in ("n_test_tasks", "episodes", "interval"):
            _at_least(1, "evaluation", name, getattr(self, name))
        _at_least(0, "evaluation", "exploration_episodes", self.exploration_episodes)
        if self.exploration_episodes >= self.episodes:
            raise ConfigError(
                f"evaluation.episodes ({self.episodes}) must exceed evaluation.exploration_episodes "
                f"({self.exploration_episodes}): the last episode is scored."
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run, apart from its family and its seed. Each system has its own sections."""

    system: ClassVar[str]
    """The system's name in ``pearl.systems.SYSTEMS``"""
    agent: Any
    """The agent's settings."""
    training: CollectionConfig = field(default_factory=CollectionConfig)
    """Meta-training."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The few-shot evaluation protocol."""

    @classmethod
    def beside(cls, pearl: "PEARLConfig") -> Self:
        """Return this system's settings for the tasks and by the protocol of a PEARL run; the rest are its defaults."""
        base = from_mapping(cls, {})
        shared = {name: getattr(pearl.training, name) for name in ("n_train_tasks", "tasks_per_iteration", "workers")}
        training = dataclasses.replace(base.training, **shared, episodes_per_trial=pearl.evaluation.episodes)
        return dataclasses.replace(base, evaluation=pearl.evaluation, training=training)


@dataclass(frozen=True, kw_only=True)
class PEARLConfig(Config):
    """Settings of a PEARL run, apart from its family and its seed."""

    system: ClassVar[str] = "pearl"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder q(z | c)."""
    agent: PEARLAgentConfig = field(default_factory=PEARLAgentConfig)
    """The z-conditioned soft actor-critic."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Collection and gradient steps."""


def _infers_nothing() -> EncoderConfig:
    return EncoderConfig(kind="blind", latent_dim=1)


@dataclass(frozen=True, kw_only=True)
class MultitaskSACConfig(PEARLConfig):
    """Settings of a run of multi-task SAC: PEARL's agent without a task variable, one policy for all tasks.

    Raises:
        ConfigError: an encoder that infers something.
    """

    system: ClassVar[str] = "multitask_sac"
    encoder: EncoderConfig = field(default_factory=_infers_nothing)
    """The encoder, which has to be blind."""

    def __post_init__(self) -> None:
        if self.encoder.kind != "blind":
            raise ConfigError(
                f"{self.system} infers nothing of its task: encoder.kind must be blind, got {self.encoder.kind!r}. "
                "What infers is --agent pearl."
            )

    @classmethod
    def beside(cls, pearl: PEARLConfig) -> Self:
        """Return a PEARL run's settings with everything that serves inference left out."""
        agent = dataclasses.replace(
            pearl.agent,
            sweep=0.0,
            kl_weight=0.0,
            early_kl_weight=0.0,
            critics_teach_encoder=True,
            contrastive_weight=0.0,
            reconstruction_weight=0.0,
        )
        training = dataclasses.replace(
            pearl.training, max_context=1, random_context_length=False, recent_context=None, relabel_candidates=0
        )
        return cls(encoder=_infers_nothing(), agent=agent, training=training, evaluation=pearl.evaluation)


@dataclass(frozen=True, kw_only=True)
class OracleSACConfig(MultitaskSACConfig):
    """Settings of a run of multi-task SAC whose observations tell the task (``pearl.told``)."""

    system: ClassVar[str] = "oracle_sac"


@dataclass(frozen=True, kw_only=True)
class RL2Config(Config):
    """Settings of an RL² run, apart from its family and its seed."""

    system: ClassVar[str] = "rl2"
    agent: RL2AgentConfig = field(default_factory=RL2AgentConfig)
    """The recurrent policy."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """Settings of a run with transformer memory, apart from its family and its seed."""

    system: ClassVar[str] = "transformer"
    agent: TransformerAgentConfig = field(default_factory=TransformerAgentConfig)
    """The policy that attends to its trial."""


@dataclass(frozen=True, kw_only=True)
class MAMLConfig(Config):
    """Settings of a MAML run, apart from its family and its seed."""

    system: ClassVar[str] = "maml"
    agent: MAMLAgentConfig = field(default_factory=MAMLAgentConfig)
    """The policy that adapts by gradient steps, learnt through them."""


@dataclass(frozen=True, kw_only=True)
class FOMAMLConfig(MAMLConfig):
    """Settings of a first-order MAML run, apart from its family and its seed."""

    system: ClassVar[str] = "fomaml"


@dataclass(frozen=True, kw_only=True)
class ReptileConfig(Config):
    """Settings of a Reptile run, apart from its family and its seed."""

    system: ClassVar[str] = "reptile"
    agent: GradientAgentConfig = field(default_factory=GradientAgentConfig)
    """The policy that adapts by gradient steps, and goes where they lead."""


def load_preset(family: str) -> PEARLConfig:
    """Return a family's preset for PEARL, as ``preset`` does."""
    return preset(PEARLConfig, family)


def preset(kind: type[ConfigT], family: str) -> ConfigT:
    """Return a family's preset, or the one that the families of its pattern share; the defaults where there is none.

    Tasks and protocol are PEARL's wherever another system's own preset says nothing else, so that results compare;
    of the references without a task variable so is everything else that means something to them.

    Args:
        kind: the system's config class; each has presets of its own.
        family: the family's name.
    """
    base = from_mapping(kind, {})
    folder = resources.files("pearl") / "presets"
    if kind is not PEARLConfig:
        base = kind.beside(load_preset(family))
        folder = folder / kind.system
    for name in (family, preset_sharer(family) or family):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return read_yaml(path.read_text(), f"preset {name}", base)
    return base


def _at_least(minimum: float, section: str, name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{section}.{name} must be finite, got {value}.")
    if value < minimum:
        raise ConfigError(f"{section}.{name} must be at least {minimum}, got {value}.")
