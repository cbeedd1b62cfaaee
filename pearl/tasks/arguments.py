"""Checks of the task distributions and task lists that users give: each says what was given and what to give."""

from collections.abc import Iterable, Mapping

import gymnasium as gym

from encoders.abbreviation import abbreviated
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.registry import make


def check_distribution(value: object, name: str, wanted: str = "a task distribution") -> TaskDistribution:
    """Return ``value``, which has to be a task distribution.

    Args:
        value: what was given.
        name: of the argument, for the error.
        wanted: what the argument takes, for the error.

    Raises:
        TypeError: it is something else: its class, an environment, a function, a family's name.
    """
    if isinstance(value, TaskDistribution):
        return value
    remedy = "Write a class that inherits from pearl.TaskDistribution: sample draws tasks, make_env builds one's."
    if isinstance(value, type) and issubclass(value, TaskDistribution):
        remedy = f"Give an instance of it: {value.__name__}()."
    elif isinstance(value, str):
        remedy = f"Build it: pearl.tasks.make({abbreviated(value)})."
    elif isinstance(value, gym.Env) or (isinstance(value, type) and issubclass(value, gym.Env)):
        remedy = f"An environment is one task. {remedy}"
    raise TypeError(f"{name} must be {wanted}, got {described(value)}. {remedy}")


def family_of(family: str | TaskDistribution) -> TaskDistribution:
    """Return the task distribution of that name, or the one that was given.

    Raises:
        UnknownFamilyError: no family of this name.
        TypeError: it is neither a name nor a task distribution.
    """
    if isinstance(family, str):
        return make(family)
    return check_distribution(family, "family", "a registered family's name or a task distribution")


def check_tasks(value: object, name: str) -> list[Task]:
    """Return ``value``, which has to be some tasks, as a list.

    Args:
        value: what was given.
        name: of the argument, for the error.

    Raises:
        TypeError: it is no list, or an item is no task.
        ValueError: it is empty.
    """
    if isinstance(value, Task | Mapping | str) or not isinstance(value, Iterable):
        remedy = f"Put it into a list: [{'task' if isinstance(value, Task) else 'pearl.Task({...})'}]."
        raise TypeError(f"{name} must be a list of pearl.Task, got {described(value)}. {remedy}")
    tasks = list(value)
    for index, task in enumerate(tasks):
        if not isinstance(task, Task):
            remedy = (
                f"Wrap it: pearl.Task({abbreviated(task)})." if isinstance(task, Mapping) else "Draw tasks by sample."
            )
            raise TypeError(f"{name}[{index}] must be a pearl.Task, got {described(task)}. {remedy}")
    if not tasks:
        raise ValueError(f"{name} must hold one task or more, got none.")
    return tasks


def described(value: object) -> str:
    """Return what a value is, for an error that says what was given."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | bool | int | float):
        return abbreviated(value)
    return f"a {type(value).__name__}"
