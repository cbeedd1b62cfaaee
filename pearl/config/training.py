"""Settings of meta-training: what every algorithm shares, and what a replay adds."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from encoders import ConfigError, Settings

MOST_EPISODES = 100_000
"""Episodes of a trial, at most"""


@dataclass(frozen=True, kw_only=True)
class CollectionConfig(Settings):
    """Settings of meta-training that every algorithm shares.

    Raises:
        ConfigError: a setting of the wrong type or out of its range, here and in every subclass.
    """

    section: ClassVar[str] = "training"
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
    worker_timeout_s: float | None = None
    """Seconds after which a worker that builds, resets or steps its environments counts as hanging, which ends the run
    with an error that names its tasks; workers are waited for without limit where None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("total_steps", "n_train_tasks", "episodes_per_trial"):
            at_least(1, "training", name, getattr(self, name))
        at_most(MOST_EPISODES, "training", "episodes_per_trial", self.episodes_per_trial)
        at_least(0, "training", "workers", self.workers)
        if self.worker_timeout_s is not None and self.worker_timeout_s <= 0:
            raise ConfigError(f"training.worker_timeout_s must be above 0, got {self.worker_timeout_s}.")
        if self.tasks_per_iteration is not None:
            at_least(1, "training", "tasks_per_iteration", self.tasks_per_iteration)
            if self.tasks_per_iteration > self.n_train_tasks:
                raise ConfigError(
                    f"training.tasks_per_iteration ({self.tasks_per_iteration}) must not exceed "
                    f"training.n_train_tasks ({self.n_train_tasks})."
                )


@dataclass(frozen=True, kw_only=True)
class ReplayConfig(CollectionConfig):
    """Settings of meta-training from a replay, of transitions or of trials."""

    initial_episodes: int = 1
    """Episodes of a random policy per training task before the first gradient step."""
    initial_policy: Literal["random", "steady"] = "random"
    """Policy of the initial episodes: a new uniform action at each step, or one that is held for an episode."""
    gradient_steps_per_env_step: float = 0.1
    """Gradient steps per collected environment step."""
    replay_budget_mb: int = 1_024
    """Memory that the replay may take on its device, in MiB; a larger one is refused before it is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "training", "initial_episodes", self.initial_episodes)
        at_most(MOST_EPISODES, "training", "initial_episodes", self.initial_episodes)
        at_least(0, "training", "gradient_steps_per_env_step", self.gradient_steps_per_env_step)
        at_most(1_000, "training", "gradient_steps_per_env_step", self.gradient_steps_per_env_step)
        at_least(1, "training", "replay_budget_mb", self.replay_budget_mb)


@dataclass(frozen=True, kw_only=True)
class ContextConfig(Settings):
    """Settings of the contexts that the encoder reads in training.

    Raises:
        ConfigError: a setting of the wrong type or out of its range.
    """

    section: ClassVar[str] = "training.context"
    max_length: int = 60
    """Longest context in training, in transitions; of a longer one the newest count."""
    random_length: bool = False
    """Whether contexts are cut to their newest transitions, log-uniformly from 1 to max_length of them. False takes
    everything seen of a trial up to a random moment, which is seldom short where trials are long."""
    recent_transitions: int | None = None
    """Newest transitions per task at which contexts end; contexts come from the whole replay where None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self.section, "max_length", self.max_length)
        if self.recent_transitions is not None:
            at_least(1, self.section, "recent_transitions", self.recent_transitions)


@dataclass(frozen=True, kw_only=True)
class RelabellingConfig(Settings):
    """Settings of training on any task's trials with the rewards of another task (Wan et al. 2021).

    Raises:
        ConfigError: a setting of the wrong type or out of its range.
    """

    section: ClassVar[str] = "training.relabelling"
    candidates: int = 0
    """Transitions of any task, drawn at each gradient step, among which every task seeks one that it rewards for its
    context to end with; 0 trains each task on its own trials, without relabelling."""
    rewarded_context: int = 20
    """Transitions of a relabelled context, up to the rewarded one; training.context.max_length is that of the early
    context before it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self.section, "candidates", self.candidates)
        at_least(1, self.section, "rewarded_context", self.rewarded_context)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ReplayConfig):
    """Settings of meta-training from a replay of transitions."""

    meta_batch: int = 16
    """Tasks in a gradient step."""
    batch_size: int = 64
    """Transitions per task for the actor and the critics in a gradient step."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the gradient steps and of the replay; cuda is an NVIDIA GPU. Acting stays on the CPU."""
    replay_capacity: int = 10_000
    """Transitions kept per task."""
    context: ContextConfig = field(default_factory=ContextConfig)
    """Contexts that the encoder reads in training."""
    relabelling: RelabellingConfig = field(default_factory=RelabellingConfig)
    """Training on any task's trials with the rewards of another task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("meta_batch", "batch_size", "replay_capacity"):
            at_least(1, "training", name, getattr(self, name))
        if self.context.random_length and self.relabelling.candidates > 0:
            raise ConfigError(
                "training.context.random_length has no effect on relabelled contexts, which end at a rewarded "
                "transition. Set it to false, or training.relabelling.candidates to 0."
            )
        if self.device == "cuda" and self.relabelling.candidates > 0:
            raise ConfigError(
                "training.relabelling.candidates computes rewards on the CPU in every gradient step, for which a GPU "
                "would have to wait. Set training.device to cpu, or training.relabelling.candidates to 0."
            )
        if self.meta_batch > self.n_train_tasks:
            raise ConfigError(
                f"training.meta_batch ({self.meta_batch}) must not exceed training.n_train_tasks "
                f"({self.n_train_tasks})."
            )

    @property
    def longest_context(self) -> int:
        """Transitions of the longest context in training, those of a relabelled one with its early one."""
        return self.context.max_length + (self.relabelling.rewarded_context if self.relabelling.candidates > 0 else 0)


@dataclass(frozen=True, kw_only=True)
class TrialReplayConfig(ReplayConfig):
    """Settings of meta-training from a replay of trials."""

    meta_batch: int = 32
    """Trials in a gradient step, of whatever tasks."""
    sequence_length: int | None = None
    """Longest part of a trial in a gradient step, in transitions, before which the memory knows nothing (Ni et al.
    2022); whole trials where None. Recurrent units take the transitions one after the other, so that parts take less
    time than as many transitions of whole trials."""
    replay_capacity: int = 100_000
    """Transitions kept, of all tasks together; the oldest trials are forgotten, each as a whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("meta_batch", "replay_capacity"):
            at_least(1, "training", name, getattr(self, name))
        if self.sequence_length is not None:
            at_least(1, "training", "sequence_length", self.sequence_length)


def at_least(minimum: float, section: str, name: str, value: float) -> None:
    """Refuse a setting that is below its minimum, by its name.

    Raises:
        ConfigError: it is.
    """
    if value < minimum:
        raise ConfigError(f"{section}.{name} must be at least {minimum}, got {value}.")


def at_most(maximum: float, section: str, name: str, value: float) -> None:
    """Refuse a setting above its maximum, by its name: what is read from a file may not keep a run busy for ever.

    Raises:
        ConfigError: it is.
    """
    if value > maximum:
        raise ConfigError(f"{section}.{name} must be at most {maximum:,}, got {value}.")
