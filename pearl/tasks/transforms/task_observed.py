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
from pearl.tasks.transforms.drifting import Drifting

SAMPLED = 1_000
"""Number of sampled tasks that define the range of each parameter; fewer if the family has fewer"""


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
        self.numbers = TaskNumbers(_many_tasks(distribution))

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


class TaskNumbers:
    """Encodes the parameters of a family's tasks as numbers from about -1 to 1.

    A number is scaled by its range in ``tasks``. A boolean is -1 or 1. Any other value is one-hot among the values in
    ``tasks``, all zero if it is none of them. Lists and mappings are encoded item by item. An item that a task lacks is
    zero; an item that all of ``tasks`` lack is ignored.

    Args:
        tasks: a sample of the family's tasks.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        values: dict[str, list[Any]] = {}
        for task in tasks:
            for name, value in _items(task.params):
                values.setdefault(name, []).append(value)
        self._encodings = {name: _encoding(found) for name, found in values.items()}

    @property
    def width(self) -> int:
        """Number of entries per task."""
        return sum(encoding.width for encoding in self._encodings.values())

    def of(self, task: Task) -> NDArray[np.float32]:
        """Return the numbers of one task, (width,).

        Raises:
            ValueError: a parameter is not a number, but is one in the family's other tasks.
        """
        given = dict(_items(task.params))
        numbers: list[float] = []
        for name, encoding in self._encodings.items():
            try:
                numbers += encoding(given[name]) if name in given else [0.0] * encoding.width
            except TypeError as error:
                raise ValueError(f"{name} of the task ({task}) must be a number, as in the family's others.") from error
        return np.array(numbers, np.float32)


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


class _Scaled:
    """Encodes a number linearly: the ends of the range become -1 and 1."""

    width = 1

    def __init__(self, low: float, high: float) -> None:
        self._middle, self._half = (low + high) / 2, (high - low) / 2 or 1.0

    def __call__(self, value: Any) -> list[float]:
        return [(value - self._middle) / self._half]


class _OneHot:
    """Encodes one of several values as one-hot."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = sorted({json.dumps(value) for value in values})
        self.width = len(self._values)

    def __call__(self, value: Any) -> list[float]:
        return [float(json.dumps(value) == known) for known in self._values]


def _encoding(values: Sequence[Any]) -> _Scaled | _OneHot:
    if all(isinstance(value, bool) for value in values):
        return _Scaled(0, 1)
    if all(isinstance(value, (int, float)) for value in values):
        return _Scaled(min(values), max(values))
    return _OneHot(values)


def _items(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each single value among parameters with its path, for example ``goal.0``."""
    if isinstance(value, (Mapping, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _items(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _many_tasks(distribution: TaskDistribution) -> list[Task]:
    """Draw ``SAMPLED`` tasks; halve the number until the family has as many. The tasks are always the same."""
    n = SAMPLED
    while n > 1:
        try:
            return distribution.sample(n, np.random.default_rng(0))
        except ValueError:  # A finite family may hold fewer.
            n //= 2
    return distribution.sample(1, np.random.default_rng(0))


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
