"""Task distributions whose observations contain the task's parameters."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorObservationWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.spaces import check_spaces, is_image, observation_row, observation_rows
from pearl.tasks.arguments import check_distribution
from pearl.tasks.distribution import Plane, Task, TaskDistribution, family_name
from pearl.tasks.numbers import TaskNumbers, many_tasks
from pearl.tasks.transforms.drifting import Drifting


class TaskObserved(TaskDistribution):
    """The tasks of another distribution, with the task's parameters at the end of the observation.

    The return of a memoryless agent on these tasks is the most that inferring the task could achieve. An observation
    is the distribution's own, flattened, followed by the numbers of ``TaskNumbers``. Transitions cannot be relabelled:
    a transition with another task's reward would still show its own task.

    Args:
        distribution: the distribution whose tasks become observed.
        name: the family's name; "task-observed-" plus the distribution's name if None.

    Raises:
        TypeError: ``distribution`` is not a task distribution.
        ValueError: its tasks are observed already.
    """

    def __init__(self, distribution: TaskDistribution, *, name: str | None = None) -> None:
        if isinstance(distribution, TaskObserved):
            raise ValueError(f"The tasks of {family_name(distribution)!r} are observed already.")
        self.distribution = check_distribution(distribution, "distribution")
        self.name = f"task-observed-{family_name(distribution)}" if name is None else name
        self.same_tasks = distribution.same_tasks
        self.simulators = distribution.simulators
        self.numbers = TaskNumbers(many_tasks(distribution))

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw tasks as the distribution does."""
        return self.distribution.sample(n, rng)

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw training and test tasks as the distribution does."""
        return self.distribution.split(n_train, n_test, rng)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, with the task in its observations.

        Raises:
            ValueError: observations are images, or a parameter is of another kind than in the distribution's tasks.
        """
        return TaskObservations(self.distribution.make_env(task, render_mode=render_mode), self.numbers.of(task))

    def make_vec_env(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        """Build the environments of all tasks as the distribution does.

        Raises:
            ValueError: as from ``make_env``.
        """
        numbers = np.stack([self.numbers.of(task) for task in tasks])
        return TaskVectorObservations(self.distribution.make_vec_env(tasks), numbers)

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Move a running environment to another task; return False if the distribution cannot move its own.

        The next step's observation is the first one with the new task's numbers.
        """
        if not (isinstance(env, TaskObservations) and self.distribution.change_task(env.env, task)):
            return False
        env.numbers = self.numbers.of(task)
        return True

    def oracle_action(self, tasks: Sequence[Task], observation: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the distribution's own oracle action, from observations without the task's numbers."""
        return self.distribution.oracle_action(tasks, observation[:, : observation.shape[1] - self.numbers.width])

    def plane(self, task: Task) -> Plane | None:
        """Return the distribution's own plane of the task."""
        return self.distribution.plane(task)


class TaskObservations(gym.ObservationWrapper[Any, Any, Any]):
    """Wrapper that flattens each observation and appends the task's numbers, (width,).

    Raises:
        TypeError, ValueError: the environment's spaces are not supported, or its observations are images.
    """

    def __init__(self, env: gym.Env[Any, Any], numbers: NDArray[np.float32]) -> None:
        super().__init__(env)
        self.observation_space = _space_with_task(env.observation_space, env.action_space, len(numbers))
        self.numbers = numbers

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """Append the task's numbers to the observation's."""
        return np.concatenate([observation_row(self.env.observation_space, observation)[0], self.numbers])


class TaskVectorObservations(VectorObservationWrapper):
    """``TaskObservations`` for a vector environment; the numbers are (task, width)."""

    def __init__(self, env: VectorEnv[Any, Any, Any], numbers: NDArray[np.float32]) -> None:
        super().__init__(env)
        self.single_observation_space = _space_with_task(
            env.single_observation_space, env.single_action_space, numbers.shape[1]
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._numbers = numbers

    def observations(self, observations: Any) -> NDArray[np.float32]:
        """Append each task's numbers to its row."""
        return np.concatenate([observation_rows(self.env.single_observation_space, observations), self._numbers], 1)


def _space_with_task(space: gym.Space[Any], action_space: gym.Space[Any], width: int) -> gym.spaces.Box:
    check_spaces(space, action_space)
    if is_image(space):
        raise ValueError(
            f"Observations that are images ({space}) have no room for a task's parameters. Use a family whose "
            "observations are vectors."
        )
    own = gym.spaces.flatten_space(space)
    assert isinstance(own, gym.spaces.Box)
    unbounded = np.full(width, np.inf)
    low, high = np.append(own.low, -unbounded), np.append(own.high, unbounded)
    return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def task_observed(distribution: TaskDistribution, *, name: str | None = None) -> TaskDistribution:
    """Add the task's parameters to a distribution's observations: ``task_observed(perturbed("Pendulum-v1", …))``.

    Observations of tasks that drift contain the present task: they show a change one step late.

    Args:
        distribution: the distribution whose tasks become observed.
        name: the family's name; "task-observed-" plus the distribution's name if None.

    Raises:
        TypeError, ValueError: as from ``TaskObserved``.
    """
    if isinstance(distribution, Drifting):
        name = f"task-observed-{family_name(distribution)}" if name is None else name
        return Drifting(TaskObserved(distribution.distribution), distribution.schedule, name=name)
    return TaskObserved(distribution, name=name)
