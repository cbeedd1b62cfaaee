"""Meta-training: collect trials, store them, learn from them."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents import LearningAgent, MetaAgent
from pearl.checkpoint.fields import FieldError, finite_number, mapping, whole_number
from pearl.checkpoint.random_state import random_state_to_json, restore_random_state
from pearl.collection.rollout import StepEvent, Trajectories, rollout
from pearl.collection.workers import make_envs
from pearl.config.reading import ConfigError
from pearl.config.run import Config
from pearl.config.training import CollectionConfig
from pearl.tasks import Task, TaskDistribution
from pearl.training.divergence import DivergedError, remedy
from pearl.training.trials import as_trials

BatchT = TypeVar("BatchT")
"""Type of the data that the agent learns from"""
SettingsT = TypeVar("SettingsT", bound=CollectionConfig)
"""The class of the run's section ``training``"""


class MetaTraining(ABC, Generic[BatchT, SettingsT]):
    """The state of meta-training except the agent: counters, random generators and collected data.

    Args:
        agent: the agent to train.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: seed of every draw in collection and learning.

    Raises:
        ConfigError: the section ``training`` is not an instance of ``section``.
    """

    section: ClassVar[type[CollectionConfig]] = CollectionConfig
    """Class of the run's section ``training``"""

    def __init__(
        self,
        agent: LearningAgent[BatchT],
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: Config,
        seed: int,
    ) -> None:
        self.check_section(config)
        self.agent = agent
        self.distribution = distribution
        self.tasks = tasks
        self.config = config
        self.env_steps = 0
        self.gradient_steps = 0
        self.collection_s = 0.0
        self.learning_s = 0.0
        self.metrics: dict[str, float] = {}
        """The agent's scalars of the newest gradient steps; empty before the first"""
        collecting, learning = np.random.SeedSequence(seed).generate_state(2)
        self._collect_rng = torch.Generator().manual_seed(int(collecting))
        self._learn_rng = torch.Generator().manual_seed(int(learning))
        self._envs: VectorEnv[Any, Any, Any] | None = None
        self._before_trial: tuple[int, Tensor] | None = None  # the counter and the generator, while a trial runs

    @classmethod
    def check_section(cls, config: Config) -> None:
        """Check that a run has the settings that this training reads.

        Raises:
            ConfigError: the section ``training`` is not an instance of ``section``.
        """
        if not isinstance(config.training, cls.section):
            raise ConfigError(
                f"{cls.__name__} needs a {cls.section.__name__} as the section training, {type(config).__name__} has a "
                f"{type(config.training).__name__}."
            )

    @property
    def settings(self) -> SettingsT:
        """The run's section ``training``."""
        return cast(SettingsT, self.config.training)

    @property
    def envs(self) -> VectorEnv[Any, Any, Any]:
        """The training tasks' environments, stepped together."""
        if self._envs is None or self._envs.closed:  # Ctrl-C closes those that run in worker processes.
            self._envs = self._make_envs(self.tasks)
        return self._envs

    def close_envs(self) -> None:
        """Close the training tasks' environments; they are built again when needed."""
        if self._envs is not None:
            self._envs.close()

    def iterate(self, on_step: Callable[[StepEvent], bool] | None = None) -> dict[str, float]:
        """Run one iteration: collect one trial of each chosen task, store them, then learn.

        Only whole trials count: an exception during trials restores the counters and generators to their values before
        the trials. If an exception interrupts gradient steps from a replay, the next iteration takes the rest of them.

        Args:
            on_step: called after each environment step of all tasks; the collection ends early if it returns False.

        Returns:
            The agent's scalars, averaged over the iteration's gradient steps; empty if there were none.

        Raises:
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
        """
        begun = time.perf_counter()
        with self._whole_trials():
            chosen, trajectories = self._collect(on_step)
            self._store(chosen, trajectories)
        collected = time.perf_counter()
        agent = self.config.agent
        if agent.final_learning_rate is not None:
            progress = self.env_steps / self.settings.total_steps
            decayed = min(1.0, max(0.0, 2.0 * progress - 1.0))
            self._set_learning_rate(agent.learning_rate + decayed * (agent.final_learning_rate - agent.learning_rate))
        metrics = self._learn(trajectories)
        self.metrics = metrics or self.metrics
        diverged = [name for name, value in metrics.items() if not np.isfinite(value)]
        if diverged:
            raise DivergedError(
                f"Learning diverged at {self.gradient_steps} gradient steps: {', '.join(diverged)} is not finite. "
                f"{remedy(trajectories, agent.reward_scale, normalised=self.agent.normalises_observations)}"
            )
        self.collection_s += collected - begun
        self.learning_s += time.perf_counter() - collected
        return metrics

    @property
    @abstractmethod
    def can_resume(self) -> bool:
        """Whether training can resume: its data are loaded, not only the agent's weights."""

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors needed to resume training, except the agent's weights, in groups by name."""

    @abstractmethod
    def load_tensors(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the tensors that ``tensors`` returned.

        Raises:
            KeyError, ValueError: the tensors do not fit.
        """

    @abstractmethod
    def _store(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        """Store the trials of the tasks ``chosen``, by index, if later iterations learn from them."""

    @abstractmethod
    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        """Take the iteration's gradient steps after collecting ``trajectories``; return the agent's scalars."""

    @abstractmethod
    def _set_learning_rate(self, learning_rate: float) -> None: ...

    @contextmanager
    def _whole_trials(self) -> Iterator[None]:
        """Restore the counter and the generator if an exception interrupts the trials."""
        env_steps, generator = self._before_trial = self.env_steps, self._collect_rng.get_state()
        try:
            yield
        except BaseException:  # Ctrl-C too.
            self.env_steps = env_steps
            self._collect_rng.set_state(generator)
            raise
        finally:
            self._before_trial = None

    def _collect(self, on_step: Callable[[StepEvent], bool] | None) -> tuple[Sequence[int], Trajectories]:
        """Play a trial of each task of the iteration; return the tasks' indices and trials."""
        chosen = self._choose()
        return chosen, self._play(self._player(), chosen, self.settings.episodes_per_trial, on_step)

    def _player(self) -> MetaAgent[Any]:
        """Return the agent that plays the iteration."""
        return self.agent

    @property
    def _n_chosen(self) -> int:
        """Number of tasks that an iteration plays."""
        return min(self.settings.tasks_per_iteration or len(self.tasks), len(self.tasks))

    def iteration_line(self, horizon: int) -> str:
        """Return a line about the size of an iteration: training consists of whole ones.

        Args:
            horizon: steps of an episode.
        """
        tasks, episodes = self._n_chosen, self.settings.episodes_per_trial
        return (
            f"An iteration is up to {tasks * episodes * horizon:,} environment steps: "
            f"{tasks} tasks × {episodes} episodes × {horizon:,} steps."
        )

    def _choose(self) -> list[int]:
        """Draw the tasks of an iteration; return their numbers."""
        order = self._preferred(torch.randperm(len(self.tasks), generator=self._collect_rng))
        return cast(list[int], order[: self._n_chosen].sort().values.tolist())

    def _preferred(self, order: Tensor) -> Tensor:
        """Return the tasks' numbers (task,), in random order, with those first that an iteration is to play."""
        return order

    def _play(
        self,
        agent: MetaAgent[Any],
        chosen: Sequence[int],
        episodes: int,
        on_step: Callable[[StepEvent], bool] | None,
    ) -> Trajectories:
        def count(event: StepEvent) -> bool:
            self.env_steps += event.n_active
            return on_step is None or on_step(event)

        tasks = [self.tasks[index] for index in chosen]
        envs = self.envs if len(tasks) == len(self.tasks) else self._make_envs(tasks)
        try:
            trajectories, _ = rollout(
                envs,
                agent,
                agent.begin(len(tasks), self._collect_rng),
                episodes=episodes,
                seed=int(torch.randint(2**31, (1,), generator=self._collect_rng)),
                rng=self._collect_rng,
                on_step=count,
                labels=tasks,
            )
        finally:
            if envs is not self._envs:
                envs.close()
        return trajectories

    def _see(self, trajectories: Trajectories) -> None:
        """Update the agent's running statistics, if any."""
        self.agent.see(as_trials(trajectories))

    def _make_envs(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        training = self.settings
        return make_envs(self.distribution, tasks, training.workers, training.worker_timeout_s)

    def state(self) -> dict[str, Any]:
        """Return the counters and the random generators' states as JSON.

        While trials run, these are the values before the trials, which are not stored yet.
        """
        env_steps, collect_rng = self.env_steps, self._collect_rng
        if self._before_trial is not None:
            env_steps, collect_rng = self._before_trial[0], torch.Generator()
            collect_rng.set_state(self._before_trial[1])
        return {
            "env_steps": env_steps,
            "gradient_steps": self.gradient_steps,
            "collection_s": self.collection_s,
            "learning_s": self.learning_s,
            "collect_rng": random_state_to_json(collect_rng),
            "learn_rng": random_state_to_json(self._learn_rng),
            "metrics": self.metrics,
        }

    def load_state(self, state: Mapping[str, Any], horizon: int) -> None:
        """Load the state that ``state`` returned, for training with episodes of ``horizon`` steps.

        Raises:
            ValueError: a field is missing or invalid; the message names it.
        """
        self.env_steps = whole_number(state, "env_steps", "training.")
        self.gradient_steps = whole_number(state, "gradient_steps", "training.")
        self.collection_s = finite_number(state, "collection_s", "training.")
        self.learning_s = finite_number(state, "learning_s", "training.")
        restore_random_state(self._collect_rng, mapping(state, "collect_rng", "training."), "training.collect_rng")
        restore_random_state(self._learn_rng, mapping(state, "learn_rng", "training."), "training.learn_rng")
        metrics = mapping(state, "metrics", "training.") if "metrics" in state else {}  # not in older documents
        for name, value in metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise FieldError(f"training.metrics.{name}", value, "a finite number")
        self.metrics = dict(metrics)
