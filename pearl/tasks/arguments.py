"""Checks of the task distributions and task lists that a user passes."""

from collections.abc import Iterable, Mapping

import gymnasium as gym

from encoders.abbreviation import abbreviated
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.registry import make


def check_distribution(value: object, name: str, wanted: str = "a task distribution") -> TaskDistribution:
    """Return ``value`` if it is a task distribution.

    Args:
        value: the argument.
        name: the argument's name, for the error.
        wanted: the values that the argument accepts, for the error.

    Raises:
        TypeError: ``value`` is something else, such as a class, an environment or a family's name.
    """
    if isinstance(value, TaskDistribution):
        return value
    remedy = (
        "Write a class that inherits from pearl.TaskDistribution: sample draws tasks, make_env builds the environment "
        "of a task."
    )
    if isinstance(value, type) and issubclass(value, TaskDistribution):
        remedy = f"Give an instance of it: {value.__name__}()."
    elif isinstance(value, str):
        remedy = f"Build it: pearl.tasks.make({abbreviated(value)})."
    elif isinstance(value, gym.Env) or (isinstance(value, type) and issubclass(value, gym.Env)):
        remedy = f"An environment is one task. {remedy}"
    raise TypeError(f"{name} must be {wanted}, got {description(value)}. {remedy}")


def family_of(family: str | TaskDistribution) -> TaskDistribution:
    """Return the task distribution of that name, or the given one.

    Raises:
        UnknownFamilyError: no family has this name.
        TypeError: ``family`` is neither a name nor a task distribution.
    """
    if isinstance(family, str):
        return make(family)
    return check_distribution(family, "family", "a registered family's name or a task distribution")


def check_tasks(value: object, name: str) -> list[Task]:
    """Return the tasks in ``value`` as a list.

    Args:
        value: the argument.
        name: the argument's name, for the error.

    Raises:
        TypeError: ``value`` is not a list, or an item is not a task.
        ValueError: the list is empty.
    """
    if isinstance(value, Task | Mapping | str) or not isinstance(value, Iterable):
        remedy = f"Put it into a list: [{'task' if isinstance(value, Task) else 'pearl.Task({...})'}]."
        raise TypeError(f"{name} must be a list of pearl.Task, got {description(value)}. {remedy}")
    tasks = list(value)
    for index, task in enumerate(tasks):
        if not isinstance(task, Task):
            remedy = (
                f"Wrap it: pearl.Task({abbreviated(task)})." if isinstance(task, Mapping) else "Draw tasks by sample."
            )
            raise TypeError(f"{name}[{index}] must be a pearl.Task, got {description(task)}. {remedy}")
    if not tasks:
        raise ValueError(f"{name} must hold at least one task, got none.")
    return tasks


def description(value: object) -> str:
    """Return a short description of a value for an error message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | bool | int | float):
        return abbreviated(value)
    return f"a {type(value).__name__}"
