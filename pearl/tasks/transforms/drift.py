"""Drifting tasks: the schedule that they are drawn by, and their form as JSON."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from encoders.abbreviation import abbreviated
from pearl.tasks.distribution import Task

TASKS, SWITCH_STEPS, GRADUAL = "tasks", "switch_steps", "gradual"
"""Parameters of a drifting task: the tasks that take turns, the steps of an episode at which a task ends and the next
one begins, and whether the parameters move from one task to the next"""


@dataclass(frozen=True)
class DriftSchedule:
    """When, how often and how abruptly the task of an episode changes.

    Args:
        steps: environment steps that a task lasts; (low, high): drawn for each task, uniform from low to high, both
            included. The last task lasts until the end of the episode.
        switches: number of changes within an episode.
        gradual: whether the parameters move to the next task's over the steps of a task, rather than at its end.
            Floats move linearly. All other values, such as whole numbers and strings, change at the end.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: ``steps`` or ``switches`` is below 1, or low is above high.
    """

    steps: int | tuple[int, int]
    switches: int = 1
    gradual: bool = False

    def __post_init__(self) -> None:
        given = self.steps if isinstance(self.steps, tuple | list) else (self.steps, self.steps)
        if len(given) != 2 or not all(map(_is_whole, given)):
            raise TypeError(
                "steps must be a whole number of environment steps, such as 100, or the lowest and the highest one, "
                f"such as (60, 140), got {self.steps!r}."
            )
        low, high = map(int, given)
        if not 1 <= low <= high:
            raise ValueError(f"steps must be at least 1, the lower number first, got {self.steps!r}.")
        if not _is_whole(self.switches):
            raise TypeError(f"switches must be a whole number of changes within an episode, got {self.switches!r}.")
        if self.switches < 1:
            raise ValueError(
                f"switches must be at least 1, got {self.switches}; without a change, use the distribution itself."
            )
        if not isinstance(self.gradual, bool):
            raise TypeError(f"gradual must be True or False, got {self.gradual!r}.")
        object.__setattr__(self, "steps", (low, high) if isinstance(self.steps, tuple | list) else low)
        object.__setattr__(self, "switches", int(self.switches))

    @property
    def latest(self) -> int:
        """The latest step of an episode at which the last change may come."""
        return self.switches * (self.steps[1] if isinstance(self.steps, tuple) else self.steps)

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the steps of an episode at which the task changes, (switch,), increasing."""
        low, high = self.steps if isinstance(self.steps, tuple) else (self.steps, self.steps)
        return tuple(np.cumsum(rng.integers(low, high, self.switches, endpoint=True)).tolist())


class Drift(NamedTuple):
    """A drifting task: the tasks of an episode in turn."""

    tasks: tuple[Task, ...]
    switch_steps: tuple[int, ...]
    """Step of an episode, from 0, at which the task with the next index begins; one fewer than tasks"""
    gradual: bool = False

    @classmethod
    def of(cls, task: Task) -> "Drift":
        """Read a drifting task from its parameters.

        Raises:
            ValueError: the parameters are not those of a drifting task.
        """
        params = task.params
        names = (TASKS, SWITCH_STEPS, GRADUAL)
        accepted = f"A drifting task has the parameters {', '.join(names)}"
        if set(params) != set(names):
            raise ValueError(f"{accepted}, got {', '.join(params) or 'none'}. Draw tasks by sample.")
        tasks, steps, gradual = (params[name] for name in names)
        if not (isinstance(tasks, tuple) and tasks and all(isinstance(each, Mapping) for each in tasks)):
            raise ValueError(
                f"{accepted}; {TASKS} must be a list of at least one task's parameters, got {abbreviated(tasks)}."
            )
        if not (isinstance(steps, tuple) and all(map(_is_whole, steps)) and list(steps) == sorted({0, *steps})[1:]):
            raise ValueError(
                f"{accepted}; {SWITCH_STEPS} must be whole numbers from 1, increasing, got {abbreviated(steps)}."
            )
        if len(steps) != len(tasks) - 1:
            raise ValueError(
                f"{accepted}; {len(tasks)} tasks take {len(tasks) - 1} switch_steps, got {abbreviated(steps)}."
            )
        if not isinstance(gradual, bool):
            raise ValueError(f"{accepted}; {GRADUAL} must be true or false, got {abbreviated(gradual)}.")
        return cls(tuple(map(Task, tasks)), steps, gradual)

    def to_task(self) -> Task:
        """Return the drifting task as a task."""
        tasks = [task.to_json() for task in self.tasks]
        return Task({TASKS: tasks, SWITCH_STEPS: list(self.switch_steps), GRADUAL: self.gradual})

    def at(self, step: int) -> tuple[int, Task]:
        """Return the index of the task at a step of an episode, from 0, and the task at this step.

        In a gradual drift, the task lies between the one with this index and the next one.
        """
        index = bisect_right(self.switch_steps, step)
        if not self.gradual or index == len(self.switch_steps):
            return index, self.tasks[index]
        begin, end = (0, *self.switch_steps)[index], self.switch_steps[index]
        return index, between(self.tasks[index], self.tasks[index + 1], (step - begin) / (end - begin))


def between(task: Task, other: Task, share: float) -> Task:
    """Return the task that lies a share, from 0 to 1, of the way from one task to another.

    Floats move linearly. All other values are those of ``task``.
    """
    return Task(_between(task.to_json(), other.to_json(), share)) if share > 0 else task


def _between(value: Any, other: Any, share: float) -> Any:
    if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
        return {name: _between(item, other[name], share) for name, item in value.items()}
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return [_between(item, its, share) for item, its in zip(value, other, strict=True)]
    if _is_number(value) and _is_number(other) and (isinstance(value, float) or isinstance(other, float)):
        return (1 - share) * value + share * other
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
