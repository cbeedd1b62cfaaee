"""Task distributions whose task changes within an episode."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from pearl.tasks.arguments import check_distribution, description
from pearl.tasks.distribution import Task, TaskDistribution, family_name
from pearl.tasks.limits import time_limit
from pearl.tasks.transforms.drift import Drift, DriftSchedule, between
from pearl.tasks.transforms.moving import MovingEnv, check_moving
from pearl.tasks.vector_env import checked_reset_mask

TASK, TASK_INDEX = "current_task", "current_task_index"
"""Keys of a step's info: the task that the step belonged to, and its index in the drifting task, from 0"""
_TRIES = 100
"""Draws of two tasks until they differ"""


class Drifting(TaskDistribution):
    """The tasks of another distribution in turn within an episode: only the task changes, the state carries over.

    A task is ``{"tasks": [parameters, …], "switch_steps": [step, …], "gradual": false}``. Every episode begins with the
    first task. Observations and rewards do not show a change. The info of a step holds the task that the step belonged
    to (``current_task``) and its index (``current_task_index``), for evaluations.

    Running environments are changed by the distribution's ``change_task``. A distribution without this method needs
    environments in Python whose task lies in attributes that ``make_env`` sets: the attributes that differ between new
    environments of both tasks are moved, which takes two more environments for each change.

    Args:
        distribution: the distribution to draw the tasks from.
        schedule: when, how often and how abruptly the task changes.
        name: the family's name; "drifting-" plus the distribution's name if None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the distribution drifts already, episodes end before the last change, or the drift is gradual and
            the tasks have no parameter that is a float.
        TaskDistributionError: a running environment cannot be moved to another task; the message says what to do.
    """

    def __init__(self, distribution: TaskDistribution, schedule: DriftSchedule, *, name: str | None = None) -> None:
        if isinstance(distribution, Drifting):
            raise ValueError(
                f"The tasks of {family_name(distribution)!r} drift already; raise the schedule's switches."
            )
        self.distribution = check_distribution(distribution, "distribution")
        if not isinstance(schedule, DriftSchedule):
            raise TypeError(
                f"schedule must be a pearl.DriftSchedule, got {description(schedule)}. Write "
                "pearl.DriftSchedule(steps=(60, 140))."
            )
        self.schedule = schedule
        self.name = f"drifting-{family_name(distribution)}" if name is None else name
        self.same_tasks = distribution.same_tasks
        self.simulators = distribution.simulators
        self._check(*_two_tasks(distribution))

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` drifting tasks from ``n`` times as many tasks as an episode has.

        Raises:
            ValueError: the distribution has fewer tasks.
        """
        first = int(rng.integers(2))
        try:
            tasks = self.distribution.sample(n * self._each, rng)
        except ValueError as error:
            raise self._too_few(n, error) from error
        return self._in_turn(tasks, first, rng)

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw drifting tasks for training from the distribution's training tasks, and for test from its test tasks.

        Raises:
            ValueError: the distribution has fewer tasks.
        """
        if self.same_tasks:
            return super().split(n_train, n_test, rng)
        first = int(rng.integers(2))
        try:
            train, test = self.distribution.split(n_train * self._each, n_test * self._each, rng)
        except ValueError as error:
            raise self._too_few(n_train + n_test, error) from error
        return self._in_turn(train, first, rng), self._in_turn(test, first, rng)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one drifting task, with the time limit of its first task.

        Raises:
            ValueError: the parameters are not those of a drifting task.
        """
        drift = Drift.of(task)
        env = self.distribution.make_env(drift.tasks[0], render_mode=render_mode)
        return DriftingEnv(self.distribution, drift, env)

    def make_vec_env(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        """Build the environments of all tasks, as the distribution does if it can change the tasks of its own.

        Raises:
            ValueError: the parameters are not those of a drifting task.
        """
        drifts = [Drift.of(task) for task in tasks]
        if type(self.distribution).make_vec_env is not TaskDistribution.make_vec_env:
            envs = self.distribution.make_vec_env([drift.tasks[0] for drift in drifts])
            if self.distribution.change_vec_task(envs, 0, drifts[0].tasks[0]):
                return DriftingVectorEnv(self.distribution, drifts, envs)
            envs.close()
        return super().make_vec_env(tasks)

    @property
    def _each(self) -> int:
        """Number of tasks of a drifting task."""
        return self.schedule.switches + 1

    def _in_turn(self, tasks: Sequence[Task], first: int, rng: np.random.Generator) -> list[Task]:
        """Form drifting tasks of consecutive tasks, every second one in reverse order.

        Families whose tasks alternate, such as mirrored ones, then change at every switch, and not always in the same
        direction.
        """
        groups = [tuple(tasks[begin : begin + self._each]) for begin in range(0, len(tasks), self._each)]
        return [
            Drift(
                group[::-1] if (first + index) % 2 else group, self.schedule.draw(rng), self.schedule.gradual
            ).to_task()
            for index, group in enumerate(groups)
        ]

    def _too_few(self, n: int, error: ValueError) -> ValueError:
        return ValueError(
            f"{n} tasks of {self.name!r} need {n * self._each} tasks of {family_name(self.distribution)!r}: {error} "
            "Ask for fewer drifting tasks."
        )

    def _check(self, task: Task, other: Task) -> None:
        if self.schedule.gradual and between(task, other, 0.5) == task:
            raise ValueError(
                f"A gradual drift moves parameters that are floats; the tasks of {family_name(self.distribution)!r}, "
                f"such as ({task}) and ({other}), have none that differ. Use gradual=False."
            )
        env = self.distribution.make_env(task)
        limit = time_limit(env, f"The environments of {family_name(self.distribution)!r} have")
        env.close()
        if self.schedule.latest >= limit:
            raise ValueError(
                f"The last change of {self.schedule} may come at step {self.schedule.latest}, but episodes of "
                f"{family_name(self.distribution)!r} end after {limit} steps. Lower steps or switches."
            )
        check_moving(self.distribution, task, other)


def drifts(distribution: TaskDistribution) -> bool:
    """Return whether tasks of the distribution, or of the one that it is built from, change within an episode."""
    within = getattr(distribution, "distribution", None)
    return isinstance(distribution, Drifting) or (isinstance(within, TaskDistribution) and drifts(within))


class DriftingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Wrapper that changes the task of its environment within each episode.

    Args:
        distribution: the family of the tasks.
        drift: the tasks and the steps at which they begin.
        env: a new environment of the first task.
    """

    def __init__(self, distribution: TaskDistribution, drift: Drift, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.drift = drift
        self._moving = MovingEnv(distribution, env, drift.tasks[0])
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in the first task."""
        self._steps = 0
        shown = self._enter()
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, **shown}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Change the task if it is time, then take one step."""
        shown = self._enter()
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        return observation, reward, terminated, truncated, {**info, **shown}

    def close(self) -> None:
        """Close the environment."""
        self._moving.close()
        super().close()

    def _enter(self) -> dict[str, Any]:
        """Change to the task of the coming step, and return its info."""
        index, task = self.drift.at(self._steps)
        self._moving.move(task)
        return {TASK_INDEX: index, TASK: task}


class DriftingVectorEnv(VectorWrapper):
    """``DriftingEnv`` for a vector environment whose family changes single tasks by ``change_vec_task``.

    Args:
        distribution: the family of the tasks.
        drifts: one drifting task per environment.
        envs: new environments of the first tasks.
    """

    def __init__(self, distribution: TaskDistribution, drifts: Sequence[Drift], envs: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(envs)
        self.drifts = tuple(drifts)
        self._distribution = distribution
        self._steps = np.zeros(len(drifts), np.int64)
        self._tasks = [drift.tasks[0] for drift in drifts]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of every environment, or of those in ``options["reset_mask"]``, (task,) bool."""
        self._steps[checked_reset_mask(options, self.num_envs)] = 0
        shown = self._enter()
        envs: Any = self.env  # Typed for a single seed only.
        observations, infos = envs.reset(seed=seed, options=options)
        return observations, {**infos, **shown}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Change the tasks whose time it is, then take one step in every environment."""
        shown = self._enter()
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._steps += 1
        return observations, rewards, terminations, truncations, {**infos, **shown}

    def _enter(self) -> dict[str, Any]:
        indices = np.zeros(self.num_envs, np.int64)
        for row, (drift, step) in enumerate(zip(self.drifts, self._steps.tolist(), strict=True)):
            indices[row], task = drift.at(step)
            if task is not self._tasks[row]:
                self._distribution.change_vec_task(self.env, row, task)
                self._tasks[row] = task
        return {TASK_INDEX: indices, TASK: list(self._tasks)}


def _two_tasks(distribution: TaskDistribution) -> list[Task]:
    """Draw two tasks that differ; the tasks are always the same."""
    rng = np.random.default_rng(0)
    for _ in range(_TRIES):
        tasks = distribution.sample(2, rng)
        if tasks[0] != tasks[1]:
            return tasks
    raise ValueError(f"{family_name(distribution)!r} drew the same task {_TRIES} times: ({tasks[0]}). Tasks must vary.")


drifting = Drifting
"""Change the task within an episode: ``drifting(mirrored(perturbed("Pendulum-v1", …)), DriftSchedule((60, 140)))``."""
