"""Numbers that describe tasks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pearl.tasks.distribution import Task, TaskDistribution

SAMPLED = 1_000
"""Number of sampled tasks that define the range of each parameter; fewer if the family has fewer"""


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


def standardised_numbers(tasks: Sequence[Task], width: int) -> NDArray[np.float32]:
    """Describe each task by ``width`` numbers, which over ``tasks`` have mean 0 and standard deviation 1.

    These are the ``TaskNumbers``, followed by zeros. If there are more than ``width``, they are projected at random, in
    always the same way, which almost keeps the distances between tasks (Johnson and Lindenstrauss 1984). A number that
    all tasks share is 0.

    Args:
        tasks: all tasks to describe.
        width: numbers per task.

    Returns:
        (task, width).
    """
    encoded = TaskNumbers(tasks)
    numbers = np.stack([encoded.of(task) for task in tasks]).astype(np.float64)
    numbers -= numbers.mean(0)
    spread = numbers.std(0)
    numbers /= np.where(spread > 0, spread, 1.0)
    if numbers.shape[1] > width:
        numbers = numbers @ np.random.default_rng(0).normal(size=(numbers.shape[1], width))
        numbers /= np.maximum(numbers.std(0), np.finfo(np.float32).tiny)
    described = np.zeros((len(tasks), width), np.float32)
    described[:, : numbers.shape[1]] = numbers
    return described


def many_tasks(distribution: TaskDistribution) -> list[Task]:
    """Draw ``SAMPLED`` tasks; halve the number until the family has as many. The tasks are always the same."""
    n = SAMPLED
    while n > 1:
        try:
            return distribution.sample(n, np.random.default_rng(0))
        except ValueError:  # A finite family may hold fewer.
            n //= 2
    return distribution.sample(1, np.random.default_rng(0))


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
