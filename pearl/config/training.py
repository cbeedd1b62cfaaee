"""Settings of meta-training: those of every algorithm, and those of a replay."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from encoders import ConfigError, Settings

MOST_EPISODES = 100_000
"""Episodes of a trial, at most"""
FEWEST_TASKS, MOST_TASKS = 100, 1_000
"""Training tasks, where no number is set"""
TRIALS_PER_TASK = 2.5
"""Trials of a training task, where no number of tasks is set and the limits above allow"""
LONGEST_CONTEXT = 400
"""Transitions of a training context, at most, where the trial decides its length"""
CAPACITY = 10_000
"""Transitions that a replay keeps per task, where no number is set and memory allows"""
TRANSITIONS = 256
"""Transitions of a gradient step, of all its tasks together, where no number per task is set"""


@dataclass(frozen=True, kw_only=True)
class CollectionConfig(Settings):
    """Settings of meta-training that every algorithm shares.

    Raises:
        ConfigError: a setting of the wrong type or out of its range, here and in every subclass.
    """

    section: ClassVar[str] = "training"
    total_steps: int = 100_000
    """Length of meta-training, in environment steps."""
    n_train_tasks: int | None = None
    """Training tasks, drawn once from the seed. None stands for as many as training plays 2.5 trials each, within 100
    and 1 000."""
    tasks_per_iteration: int | None = 10
    """Tasks that collect a trial in each iteration, or all if there are fewer; None stands for all."""
    episodes_per_trial: int = 2
    """Episodes in a collected trial. The first starts from the prior, later ones use what the trial has shown."""
    workers: int = 0
    """Worker processes that step the environments, in training and evaluation. 0 steps them in this process, which is
    faster for steps shorter than about a millisecond."""
    worker_timeout_s: float | None = None
    """Seconds that a worker may take to build, reset or step its environments; then the run ends with an error that
    names its tasks. None waits without limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("total_steps", "n_train_tasks", "episodes_per_trial"):
            if (value := getattr(self, name)) is not None:
                at_least(1, "training", name, value)
        at_most(MOST_EPISODES, "training", "episodes_per_trial", self.episodes_per_trial)
        at_least(0, "training", "workers", self.workers)
        if self.worker_timeout_s is not None and self.worker_timeout_s <= 0:
            raise ConfigError(f"training.worker_timeout_s must be above 0, got {self.worker_timeout_s}.")
        if self.tasks_per_iteration is not None:
            at_least(1, "training", "tasks_per_iteration", self.tasks_per_iteration)

    def n_tasks(self, horizon: int) -> int:
        """Return the number of training tasks where episodes have ``horizon`` steps.

        Critics learn few tasks by heart, and do not learn many that are played once.
        """
        if self.n_train_tasks is not None:
            return self.n_train_tasks
        trials = self.total_steps / (self.episodes_per_trial * horizon)
        return round(min(MOST_TASKS, max(FEWEST_TASKS, trials / TRIALS_PER_TASK)))


@dataclass(frozen=True, kw_only=True)
class ReplayConfig(CollectionConfig):
    """Settings of meta-training from a replay, of transitions or of trials."""

    initial_episodes: int | None = None
    """Episodes of a random policy in each training task before the first gradient step. None lets it play a tenth of
    total_steps, at most 10 000: PEARL one episode at a time, in the tasks with the fewest transitions first."""
    initial_policy: Literal["random", "steady"] | None = None
    """Policy of the initial episodes: a new uniform action at each step, or one action per episode. None stands for
    random; with PEARL, for steady where rewards are rare (training.relabelling.candidates) and actions continuous."""
    gradient_steps_per_env_step: float = 0.3
    """Gradient steps per collected environment step."""
    replay_budget_mb: int = 1_024
    """Most memory of the replay on its device, in MiB; a larger replay is refused before memory is allocated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial_episodes is not None:
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
    max_length: int | None = None
    """Longest context in training, in transitions; longer ones are cut to their newest transitions. None stands for a
    trial of training, at most 400."""
    random_length: bool = True
    """Whether contexts are the newest transitions, their number log-uniform from 1 to max_length. False takes a trial's
    transitions up to a random moment; these contexts are seldom short if trials are long. Relabelled contexts end at a
    rewarded transition in either case."""
    recent_transitions: int | None = None
    """Newest transitions per task in which contexts end; None takes contexts from the whole replay."""

    @property
    def longest(self) -> int:
        """Transitions of the longest context; ``LONGEST_CONTEXT`` where the trial's length is unknown."""
        return LONGEST_CONTEXT if self.max_length is None else self.max_length

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length is not None:
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
    candidates: int | None = None
    """Transitions of all tasks, drawn at each gradient step. Every task searches them for one that it rewards; its
    context ends there. 0 trains each task on its own trials, without relabelling. None stands for 512 where rewards are
    rare and the family can compute them, on the CPU and without agent.reward_scale, else for 0. Rare means that ten
    episodes of a random policy in training tasks hardly differ in their rewards, and do not terminate. Other settings
    follow this one: with 0 rewards never count as rare."""
    rewarded_context: int = 20
    """Transitions of a relabelled context, up to the rewarded one. The early context before it has
    training.context.max_length."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates is not None:
            at_least(0, self.section, "candidates", self.candidates)
        at_least(1, self.section, "rewarded_context", self.rewarded_context)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ReplayConfig):
    """Settings of meta-training from a replay of transitions."""

    gradient_steps_per_env_step: float = 0.6
    """Gradient steps per collected environment step."""
    meta_batch: int = 16
    """Tasks in a gradient step, or all if there are fewer."""
    batch_size: int | None = None
    """Transitions per task for the actor and the critics in a gradient step. None stands for 256 in all tasks of the
    step together."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the gradient steps and of the replay; cuda is an NVIDIA GPU. Acting stays on the CPU."""
    replay_capacity: int | None = None
    """Transitions kept per task. None stands for 10 000, or as many as training.replay_budget_mb allows."""
    context: ContextConfig = field(default_factory=ContextConfig)
    """Contexts that the encoder reads in training."""
    relabelling: RelabellingConfig = field(default_factory=RelabellingConfig)
    """Training on any task's trials with the rewards of another task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("meta_batch", "batch_size", "replay_capacity"):
            if (value := getattr(self, name)) is not None:
                at_least(1, "training", name, value)
        if self.device == "cuda" and self.relabelling.candidates:
            raise ConfigError(
                "training.relabelling.candidates computes rewards on the CPU in every gradient step, and a GPU "
                "would wait for them. Set training.device to cpu, or training.relabelling.candidates to 0."
            )

    def rows_per_task(self, n_tasks: int) -> int:
        """Return the transitions per task of a gradient step on ``n_tasks`` tasks."""
        return max(1, TRANSITIONS // n_tasks) if self.batch_size is None else self.batch_size

    @property
    def longest_context(self) -> int:
        """Transitions of the longest context in training; a relabelled context includes its early one."""
        return self.context.longest + (self.relabelling.rewarded_context if self.relabelling.candidates else 0)


@dataclass(frozen=True, kw_only=True)
class TrialReplayConfig(ReplayConfig):
    """Settings of meta-training from a replay of trials."""

    meta_batch: int = 32
    """Trials in a gradient step, of any tasks."""
    sequence_length: int | None = None
    """Longest part of a trial in a gradient step, in transitions; its memory starts empty (Ni et al. 2022). None takes
    whole trials. Recurrent units process transitions one after the other, so short parts are faster than the same
    number of transitions in whole trials."""
    replay_capacity: int = 100_000
    """Transitions kept, all tasks together; the oldest trials are dropped, each as a whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("meta_batch", "replay_capacity"):
            at_least(1, "training", name, getattr(self, name))
        if self.sequence_length is not None:
            at_least(1, "training", "sequence_length", self.sequence_length)


def at_least(minimum: float, section: str, name: str, value: float) -> None:
    """Refuse a setting below its minimum.

    Raises:
        ConfigError: the value is below ``minimum``; the message names the setting.
    """
    if value < minimum:
        raise ConfigError(f"{section}.{name} must be at least {minimum}, got {value}.")


def at_most(maximum: float, section: str, name: str, value: float) -> None:
    """Refuse a setting above its maximum, so that an untrusted file cannot start an endless run.

    Raises:
        ConfigError: the value is above ``maximum``; the message names the setting.
    """
    if value > maximum:
        raise ConfigError(f"{section}.{name} must be at most {maximum:,}, got {value}.")
