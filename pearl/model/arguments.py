"""Checks of what users give to a model: each says what was given and what to give."""

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from agents import MetaAgent
from encoders.abbreviation import abbreviated
from encoders.settings import ConfigError, converted
from pearl.config.run import Config
from pearl.tasks.arguments import check_tasks, described
from pearl.tasks.distribution import Task


def whole_number(value: object, name: str, *, least: int = 0, default: int | None = None, remedy: str = "") -> int:
    """Return a whole number, of Python or NumPy, as Python's.

    Args:
        value: what was given.
        name: of the argument, for the error.
        least: the smallest that is accepted.
        default: replaces None; where None, None is refused.
        remedy: ends the error of a number that is too small.

    Raises:
        ConfigError: it is no whole number, or too small.
    """
    value = default if value is None else value
    number: int = converted(int, value, name)
    if number < least:
        raise ConfigError(f"{name} must be at least {least}, got {number}.{remedy}")
    return number


def steps_asked(value: object, name: str) -> int:
    """Return a number of environment steps, which may also be written as a float: 1e6.

    Raises:
        ConfigError: it is no whole number, or negative.
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return whole_number(value, name)


def model_seed(value: object) -> int:
    """Return the seed of a model, which may have any number of bits.

    Raises:
        ConfigError: it is no whole number, or negative.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0:
        return int(value)
    return whole_number(value, "seed")


def folder_path(value: object, name: str = "path") -> Path:
    """Return the path of a file or a folder, with ``~`` replaced by the user's home.

    Raises:
        TypeError: it is no text and no path.
        ValueError: it is empty, holds a NUL, or the home is not known.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be text or a pathlib.Path, got {described(value)}.")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError(f"{name} must be text, got {type(text).__name__}. Decode it: os.fsdecode(path).")
    if not text:
        raise ValueError(f"{name} must not be empty; '.' is the current folder.")
    if "\0" in text:
        raise ValueError(f"{name} must not hold a NUL, got {abbreviated(text)}.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name} is {abbreviated(text)}, whose home is not known. Write the whole path.") from error


def check_config(config: object) -> Config:
    """Return ``config``, which has to be a run's settings.

    Raises:
        TypeError: it is something else, such as a mapping or a section.
    """
    if isinstance(config, Config):
        return config
    remedy = "Build them: pearl.PEARLConfig(training=pearl.TrainingConfig(...)), or pearl.preset(...)."
    raise TypeError(f"config must be the settings of a run, got {described(config)}. {remedy}")


def check_env(env: object, family: str, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Check that ``env`` is one task's environment, with the spaces of training.

    Raises:
        TypeError: it is a vector environment, a class, a function, a name, or anything else.
        ValueError: the spaces differ.
    """
    if isinstance(env, gym.Env):
        spaces = (("observation", observations, env.observation_space), ("action", actions, env.action_space))
        for role, own, found in spaces:
            if own != found:
                raise ValueError(
                    f"The environment's {role} space is {found}, the agent was trained on {own}. "
                    f"Give an environment of the family {family!r}, or wrap this one so that the spaces agree."
                )
        return
    remedy = (
        f"Give an instance that the task distribution builds: model.task_distribution.make_env(task), of {family!r}."
    )
    kinds = {kind.__name__ for kind in type(env).__mro__}
    if isinstance(env, Task):
        remedy = "Build its environment: model.task_distribution.make_env(task)."
    elif kinds & {"VectorEnv", "VecEnv"}:
        remedy = "It steps several environments; give one of them, such as env.envs[0]."
    elif isinstance(env, type) and issubclass(env, gym.Env):
        remedy = f"Give an instance of it: {env.__name__}(...)."
    elif callable(env):
        remedy = "Call it, and give the environment that it returns."
    raise TypeError(f"env must be the gymnasium.Env of one task, got {described(env)}. {remedy}")


def task_split(value: object) -> tuple[list[Task], list[Task]]:
    """Return training and test tasks as lists.

    Raises:
        TypeError: it is no pair of lists of tasks.
        ValueError: one of the lists is empty.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        given = f"{len(value)} of them" if isinstance(value, tuple | list) else described(value)
        raise TypeError(f"tasks must be two lists, of training and of test tasks, got {given}: tasks=(train, test).")
    return check_tasks(value[0], "tasks[0]"), check_tasks(value[1], "tasks[1]")


def check_agent(agent: Any) -> MetaAgent[Any]:
    """Return ``agent``, which has to be able to act.

    Raises:
        TypeError: it lacks a method of ``agents.MetaAgent``; a model has an agent and is none.
    """
    lacking = [name for name in ("begin", "act", "observe", "end_episode") if not callable(getattr(agent, name, None))]
    if lacking or isinstance(agent, type):
        remedy = "Give its agent: model.agent." if hasattr(agent, "agent") else f"It lacks {', '.join(lacking)}."
        raise TypeError(f"agent must be an instance of agents.MetaAgent, got {described(agent)}. {remedy}")
    checked: MetaAgent[Any] = agent
    return checked
