"""Task distributions whose observations contain the task's parameters."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorObservationWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.spaces import check_spaces, is_image, observation_row, observation_rows
from pearl.tasks.arguments import check_distribution
from pearl.tasks.distribution import Plane, Task, TaskDistribution, family_name

SAMPLED = 1_000
"""Tasks whose parameters' ranges are what the task's numbers are measured in; fewer where a family has fewer"""


class TaskObserved(TaskDistribution):
    """Another distribution's tasks, in environments whose observations end with the task's parameters.

    What an agent without a memory makes of them is the most that inferring the task could bring. An observation is the
    distribution's own, flattened, then the numbers of ``TaskNumbers``. Nothing can be relabelled here: a transition
    that is given another task's reward would still show its own task.

    Args:
        distribution: whose tasks to show.
        name: of the family; "task-observed-" and the distribution's where None.

    Raises:
        TypeError: it is no task distribution.
        ValueError: its tasks are observed already.
    """

    def __init__(self, distribution: TaskDistribution, *, name: str | None = None) -> None:
        if isinstance(distribution, TaskObserved):
            raise ValueError(f"The tasks of {family_name(distribution)!r} are observed already.")
        self.distribution = check_distribution(distribution, "distribution")
        self.name = f"task-observed-{family_name(distribution)}" if name is None else name
        self.same_tasks = distribution.same_tasks
        self.simulators = distribution.simulators
        self.numbers = TaskNumbers(_many_tasks(distribution))

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw the tasks that the distribution draws."""
        return self.distribution.sample(n, rng)

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw the training and test tasks that the distribution draws."""
        return self.distribution.split(n_train, n_test, rng)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, whose observations contain it.

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
        return ToldVectorObservations(self.distribution.make_vec_env(tasks), numbers)

    def oracle_action(self, tasks: Sequence[Task], observation: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the distribution's own oracle action, from observations without the task's numbers."""
        return self.distribution.oracle_action(tasks, observation[:, : observation.shape[1] - self.numbers.width])

    def plane(self, task: Task) -> Plane | None:
        """Return where the distribution says that the task is played."""
        return self.distribution.plane(task)


class TaskNumbers:
    """Reads the parameters of a family's tasks as numbers, about -1 to 1.

    A number is measured in the range that the tasks span, a boolean is -1 or 1, and anything else is one-hot among the
    values that the tasks have (all zero where it is none of them). Lists and mappings are read item by item. An item
    that a task lacks is zero, and one that all of ``tasks`` lack is not read.

    Args:
        tasks: some of the family's.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        values: dict[str, list[Any]] = {}
        for task in tasks:
            for name, value in _items(task.params):
                values.setdefault(name, []).append(value)
        self._readers = {name: _reader(found) for name, found in values.items()}

    @property
    def width(self) -> int:
        """How many numbers tell a task."""
        return sum(reader.width for reader in self._readers.values())

    def of(self, task: Task) -> NDArray[np.float32]:
        """Return the numbers of one task, (width,).

        Raises:
            ValueError: a parameter is no number where other tasks' is.
        """
        given = dict(_items(task.params))
        read: list[float] = []
        for name, reader in self._readers.items():
            try:
                read += reader(given[name]) if name in given else [0.0] * reader.width
            except TypeError as error:
                raise ValueError(f"{name} of the task ({task}) must be a number, as in the family's others.") from error
        return np.array(read, np.float32)


class TaskObservations(gym.ObservationWrapper[Any, Any, Any]):
    """Flattens each observation and appends a task's numbers, (width,).

    Raises:
        TypeError, ValueError: the environment's spaces are not supported, or its observations are images.
    """

    def __init__(self, env: gym.Env[Any, Any], numbers: NDArray[np.float32]) -> None:
        super().__init__(env)
        self.observation_space = _told_space(env.observation_space, env.action_space, len(numbers))
        self._numbers = numbers

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """Return the observation's numbers, then the task's."""
        return np.concatenate([observation_row(self.env.observation_space, observation)[0], self._numbers])


class ToldVectorObservations(VectorObservationWrapper):
    """The same for environments that are stepped together; the numbers are (task, width)."""

    def __init__(self, env: VectorEnv[Any, Any, Any], numbers: NDArray[np.float32]) -> None:
        super().__init__(env)
        self.single_observation_space = _told_space(
            env.single_observation_space, env.single_action_space, numbers.shape[1]
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._numbers = numbers

    def observations(self, observations: Any) -> NDArray[np.float32]:
        """Return each row's numbers, then its task's."""
        return np.concatenate([observation_rows(self.env.single_observation_space, observations), self._numbers], 1)


class _Scaled:
    """A number, measured from the middle of a range in halves of it."""

    width = 1

    def __init__(self, low: float, high: float) -> None:
        self._middle, self._half = (low + high) / 2, (high - low) / 2 or 1.0

    def __call__(self, value: Any) -> list[float]:
        return [(value - self._middle) / self._half]


class _OneHot:
    """One of several values."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = sorted({json.dumps(value) for value in values})
        self.width = len(self._values)

    def __call__(self, value: Any) -> list[float]:
        return [float(json.dumps(value) == known) for known in self._values]


def _reader(values: Sequence[Any]) -> _Scaled | _OneHot:
    if all(isinstance(value, bool) for value in values):
        return _Scaled(0, 1)
    if all(isinstance(value, (int, float)) for value in values):
        return _Scaled(min(values), max(values))
    return _OneHot(values)


def _items(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value among parameters, with its name: ``goal.0``."""
    if isinstance(value, (Mapping, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _items(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _many_tasks(distribution: TaskDistribution) -> list[Task]:
    """Draw as many tasks as there are halvings of ``SAMPLED`` for; always the same ones."""
    n = SAMPLED
    while n > 1:
        try:
            return distribution.sample(n, np.random.default_rng(0))
        except ValueError:  # A finite family may hold fewer.
            n //= 2
    return distribution.sample(1, np.random.default_rng(0))


def _told_space(space: gym.Space[Any], action_space: gym.Space[Any], width: int) -> gym.spaces.Box:
    check_spaces(space, action_space)
    if is_image(space):
        raise ValueError(
            f"Observations that are images ({space}) have no room for a task's parameters. Tell the tasks of a family "
            "whose observations are vectors."
        )
    own = gym.spaces.flatten_space(space)
    assert isinstance(own, gym.spaces.Box)
    unbounded = np.full(width, np.inf)
    low, high = np.append(own.low, -unbounded), np.append(own.high, unbounded)
    return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


task_observed = TaskObserved
"""Add the task's parameters to a distribution's observations: ``task_observed(perturbed("Pendulum-v1", …))``."""
