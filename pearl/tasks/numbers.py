"""Numbers that describe tasks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pearl.tasks.distribution import Task, TaskDistribution

_Path = tuple[str | int, ...]
"""Keys and positions that lead to a single value among a task's parameters"""

SAMPLED = 1_000
"""Number of sampled tasks that define the range of each parameter; fewer if the family has fewer"""
NEGLIGIBLE = 1e-9
"""Range of a parameter, as a share of its size, under which its values differ by rounding alone"""


class TaskNumbers:
    """Encodes the parameters of a family's tasks as numbers from about -1 to 1.

    A number is scaled by its range in ``tasks``. A boolean is -1 or 1. Any other value is one-hot among the values in
    ``tasks``, all zero if it is none of them. Lists and mappings are encoded item by item. An item that a task lacks is
    zero; an item that all of ``tasks`` lack is ignored.

    Args:
        tasks: a sample of the family's tasks.

    Raises:
        ValueError: a parameter is too large a whole number to lie in one range with the others' values.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        values: dict[_Path, list[Any]] = {}
        for task in tasks:
            for path, value in _items(task.params):
                values.setdefault(path, []).append(value)
        self._encodings = {path: _encoding(path, found) for path, found in values.items()}
        self._shared = {path for path, found in values.items() if len(found) == len(tasks)}

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
        for path, encoding in self._encodings.items():
            try:
                numbers += encoding(given[path]) if path in given else [0.0] * encoding.width
            except (TypeError, OverflowError) as error:
                raise ValueError(
                    f"{_name(path)} of the task ({task}) must be a number, of a size as in the family's others."
                ) from error
        return np.array(numbers, np.float32)

    def present(self, task: Task) -> list[bool]:
        """Return whether the task has each item that some of ``tasks`` lack."""
        given = dict(_items(task.params))
        return [path in given for path in self._encodings if path not in self._shared]

    @property
    def choices(self) -> list[int]:
        """For each entry, the number of entries that tell of one value together: 1, or a one-hot encoding's width."""
        return [encoding.width for encoding in self._encodings.values() for _ in range(encoding.width)]


def standardised_numbers(tasks: Sequence[Task], width: int) -> NDArray[np.float32]:
    """Describe each task by ``width`` numbers, which over ``tasks`` have mean 0.

    These are the ``TaskNumbers`` that vary, each with standard deviation 1, and whether a task has what others lack,
    followed by zeros. The entries of one one-hot encoding share a variance of 1. If there are more than ``width``, they
    are projected at random, in always the same way, and scaled to standard deviation 1: that almost keeps the
    proportions of distances between tasks (Johnson and Lindenstrauss 1984).

    Args:
        tasks: all tasks to describe.
        width: numbers per task.

    Returns:
        (task, width).

    Raises:
        ValueError: as from ``TaskNumbers``.
    """
    encoded = TaskNumbers(tasks)
    numbers = np.array([[*encoded.of(task), *encoded.present(task)] for task in tasks], np.float64)
    share = np.array(encoded.choices + [1] * (numbers.shape[1] - encoded.width), np.float64)
    numbers -= numbers.mean(0)
    spread = numbers.std(0)
    varies = spread > NEGLIGIBLE
    numbers = numbers[:, varies] / (spread * np.sqrt(share))[varies]
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
    """Encodes a number linearly: the ends of the range become -1 and 1. A range of rounding errors stays small."""

    width = 1

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._whole = isinstance(low, int) and isinstance(high, int)
        self._size = max(abs(low), abs(high))

    def __call__(self, value: Any) -> list[float]:
        low, high = self._low, self._high
        if low == high:
            return [float(value - low)]
        if self._whole and isinstance(value, int):
            return [(2 * value - low - high) / (high - low)]  # exact, however large
        if not self._whole and high - low <= NEGLIGIBLE * self._size:
            return [(value - low) / self._size]
        return [(value - (low / 2 + high / 2)) / (high / 2 - low / 2)]  # halves, so that no sum overflows


class _OneHot:
    """Encodes one of several values as one-hot."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = sorted({json.dumps(value) for value in values})
        self._positions = {text: position for position, text in enumerate(known)}
        self.width = len(known)

    def __call__(self, value: Any) -> list[float]:
        numbers = [0.0] * self.width
        position = self._positions.get(json.dumps(value))
        if position is not None:
            numbers[position] = 1.0
        return numbers


def _encoding(path: _Path, values: Sequence[Any]) -> _Scaled | _OneHot:
    if all(isinstance(value, bool) for value in values):
        return _Scaled(0, 1)
    if not all(isinstance(value, (int, float)) for value in values):
        return _OneHot(values)
    encoding = _Scaled(min(values), max(values))
    try:
        for value in values:
            encoding(value)
    except OverflowError as error:
        raise ValueError(
            f"The parameter {_name(path)} has a whole number that no float can hold beside other numbers. Give it as "
            "text, or smaller."
        ) from error
    return encoding


def _name(path: _Path) -> str:
    return ".".join(map(str, path))


def _items(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield each single value among parameters with its path, for example ``("goal", 0)``."""
    if isinstance(value, (Mapping, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _items(item, (*path, key))
    else:
        yield path, value
