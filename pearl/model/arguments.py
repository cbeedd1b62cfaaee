"""Checks of a model's arguments. Each error names the value given and the values accepted."""

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents import MetaAgent
from encoders.abbreviation import abbreviated
from encoders.settings import ConfigError, converted
from pearl.config.run import Config
from pearl.tasks.arguments import check_tasks, description
from pearl.tasks.distribution import Task, TaskDistribution, family_name
from pearl.tasks.limits import time_limit


def whole_number(value: object, name: str, *, least: int = 0, default: int | None = None, remedy: str = "") -> int:
    """Return a whole number of Python or NumPy as a Python int.

    Args:
        value: the argument.
        name: the argument's name, for the error.
        least: smallest accepted number.
        default: replaces None; without a default, None is refused.
        remedy: end of the error about a number below ``least``.

    Raises:
        ConfigError: the value is not a whole number, or is below ``least``.
    """
    value = default if value is None else value
    number: int = converted(int, value, name)
    if number < least:
        raise ConfigError(f"{name} must be at least {least}, got {number}.{remedy}")
    return number


def acting_seed(value: object, rng: torch.Generator) -> int:
    """Return the seed of an adaptation, drawn from ``rng`` if it is None.

    Raises:
        ConfigError: the value is not a whole number, or is negative.
    """
    return int(torch.randint(2**31, (1,), generator=rng)) if value is None else whole_number(value, "seed")


def environment_steps(value: object) -> int:
    """Return ``total_timesteps``, a number of environment steps; a whole float such as 1e6 is accepted.

    Raises:
        ConfigError: the value is not a whole number, or is negative.
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return whole_number(value, "total_timesteps")


def model_seed(value: object) -> int:
    """Return a model's seed; it may have any number of bits.

    Raises:
        ConfigError: the value is not a whole number, or is negative.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0:
        return int(value)
    return whole_number(value, "seed")


def folder_path(value: object, name: str = "path") -> Path:
    """Return the path of a file or a folder, with ``~`` replaced by the user's home.

    Raises:
        TypeError: the value is neither text nor a path.
        ValueError: the path is empty or contains a NUL, or the home is unknown.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be text or a pathlib.Path, got {description(value)}.")
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
    """Return ``config`` if it is a run's settings.

    Raises:
        TypeError: it is something else, such as a mapping or a section.
    """
    if isinstance(config, Config):
        return config
    remedy = "Build them: pearl.PEARLConfig(training=pearl.TrainingConfig(...)), or pearl.preset(...)."
    raise TypeError(f"config must be the settings of a run, got {description(config)}. {remedy}")


def check_env(env: object, family: str, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Check that ``env`` is the environment of one task and has the spaces of training.

    Raises:
        TypeError: it is something else, such as a vector environment, a class, a function or a name.
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
    raise TypeError(f"env must be the gymnasium.Env of one task, got {description(env)}. {remedy}")


def task_split(value: object) -> tuple[list[Task], list[Task]]:
    """Return training and test tasks as lists.

    Raises:
        TypeError: the value is not a pair of lists of tasks.
        ValueError: one of the lists is empty.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        given = f"{len(value)} of them" if isinstance(value, tuple | list) else description(value)
        raise TypeError(f"tasks must be two lists, of training and of test tasks, got {given}: tasks=(train, test).")
    return check_tasks(value[0], "tasks[0]"), check_tasks(value[1], "tasks[1]")


def drawn_tasks(distribution: TaskDistribution, config: Config, seed: int) -> tuple[list[Task], list[Task]]:
    """Draw a model's training and test tasks.

    If the settings leave the number of training tasks open, training tasks that are test tasks too are left out, up to
    half of them: large but finite families seldom give hundreds of tasks that all differ from the test tasks.

    Args:
        distribution: the family.
        config: the run's settings.
        seed: seed of the draws.
    """
    n_train, n_test = config.training.n_train_tasks, config.evaluation.n_test_tasks
    if n_train is not None:
        train, test = distribution.split(n_train, n_test, np.random.default_rng(seed))
    else:
        env = distribution.make_env(distribution.sample(1, np.random.default_rng(seed))[0])
        horizon = time_limit(env, f"The environments of {family_name(distribution)!r} have")
        env.close()
        drawn, test = distribution.split(config.training.n_tasks(horizon), n_test, np.random.default_rng(seed))
        held_out = set(test)
        train = drawn if distribution.same_tasks else [task for task in drawn if task not in held_out]
        if 2 * len(train) < len(drawn):
            train = drawn
    return train, test


def check_agent(agent: Any) -> MetaAgent[Any]:
    """Return ``agent`` if it has the methods of ``agents.MetaAgent``.

    Raises:
        TypeError: it lacks a method. A model is not an agent; ``model.agent`` is.
    """
    lacking = [name for name in ("begin", "act", "observe", "end_episode") if not callable(getattr(agent, name, None))]
    if lacking or isinstance(agent, type):
        remedy = "Give its agent: model.agent." if hasattr(agent, "agent") else f"It lacks {', '.join(lacking)}."
        raise TypeError(f"agent must be an instance of agents.MetaAgent, got {description(agent)}. {remedy}")
    checked: MetaAgent[Any] = agent
    return checked
