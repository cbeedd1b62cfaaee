"""A checker of task distributions, like the environment checkers of gymnasium and stable-baselines3."""

import inspect
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from agents import check_spaces
from agents.spaces import observation_rows
from pearl.tasks.check.episodes import (
    EPISODES,
    Episode,
    TaskDistributionError,
    play,
    require,
)
from pearl.tasks.check.relabelling import computes_rewards
from pearl.tasks.check.units import warn_of_units
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.infos import COLLECTION_KEYS, EnvError, read_numbers
from pearl.tasks.limits import time_limit
from pearl.tasks.vector_env import SHARING_REMEDY, prepare, sharing_rows

_OTHER_SEEDS = 8
_MANY_TASKS = 200


def check_task_distribution(
    distribution: TaskDistribution,
    n_tasks: int = 4,
    seed: int = 0,
    *,
    policy: Callable[[Any], Any] | None = None,
) -> None:
    """Check a task distribution before meta-training; raise an error if it is invalid.

    The check draws tasks, builds their environments, and plays a few random episodes of each.

    Args:
        distribution: an instance.
        n_tasks: number of tasks to draw, at least 2 and at most as many as the distribution has.
        seed: seed of the tasks, the environments and the actions.
        policy: a deterministic function from observation to action. Give one if rewards are too rare for random
            actions to distinguish the tasks.

    Raises:
        TaskDistributionError: the distribution is invalid; the message names the problem and the remedy.
        ValueError: ``n_tasks`` is below 2.

    Warns:
        TaskDistributionWarning: training will run but learn badly, for example from numbers that differ by
            less than float32 can tell.
    """
    if n_tasks < 2:
        raise ValueError(f"n_tasks must be at least 2, to compare tasks with each other, got {n_tasks}.")
    _check_methods(distribution)
    tasks = _check_sampling(distribution, n_tasks, seed)
    episodes: list[list[Episode]] = []
    first: gym.Env[Any, Any] | None = None
    horizons = []
    made: list[gym.Env[Any, Any]] = []
    for task in tasks:
        with closing(_make_env(distribution, task)) as env:
            first = env if first is None else first
            made.append(env)
            _check_apart(made, tasks, "make_env")
            _check_spaces(env, first, task)
            horizons.append(_horizon(env, task))
            episodes.append([play(env, task, horizons[-1], seed, n, policy) for n in range(EPISODES)])
            if not (env.spec is not None and env.spec.nondeterministic):
                again = play(env, task, horizons[-1], seed, 0, policy)
                require(
                    again.equals(episodes[-1][0]),
                    f"The environment of task ({task}) is not deterministic: after reset(seed={seed}) the same actions "
                    "gave other results. Draw from self.np_random only, and clear all state in reset.",
                )
    assert first is not None
    _check_time_limit(episodes, horizons)
    _check_tasks_differ(episodes)
    _check_vector_env(distribution, tasks, made, seed)
    _check_relabel(distribution, tasks, episodes)
    played = [episode for row in episodes for episode in row]
    warn_of_units(first.observation_space, [episode.extent for episode in played], stacklevel=2)


def _check_methods(distribution: Any) -> None:
    require(
        not isinstance(distribution, type),
        f"Pass an instance, not the class: {getattr(distribution, '__name__', '')}().",
    )
    kind = type(distribution).__name__
    for name, arguments, keywords, signature in (
        ("sample", (1, np.random.default_rng(0)), {}, "sample(self, n, rng)"),
        ("make_env", (Task({}),), {"render_mode": None}, "make_env(self, task, *, render_mode=None)"),
    ):
        method = getattr(distribution, name, None)
        require(callable(method), f"{kind} has no method {name!r}; define {signature}.")
        assert method is not None
        try:
            inspect.signature(method).bind(*arguments, **keywords)
        except TypeError as error:
            raise TaskDistributionError(
                f"{kind}.{name}{inspect.signature(method)} cannot be called as {signature} ({error})."
            ) from error
    require(
        isinstance(distribution, TaskDistribution),
        f"{kind} must inherit from pearl.TaskDistribution, which provides make_vec_env and the other defaults.",
    )


def _sample(distribution: TaskDistribution, n: int, seed: int) -> list[Task]:
    try:
        return distribution.sample(n, np.random.default_rng(seed))
    except (Exception, SystemExit) as error:
        raise TaskDistributionError(
            f"sample({n}, rng) raised {type(error).__name__}: {error}. (A finite set may hold fewer than n_tasks.)"
        ) from error


def _check_sampling(distribution: TaskDistribution, n: int, seed: int) -> list[Task]:
    tasks = _sample(distribution, n, seed)
    require(
        isinstance(tasks, list) and all(isinstance(task, Task) for task in tasks),
        f"sample(n, rng) must return a list of pearl.Task, got {tasks!r}.",
    )
    require(len(tasks) == n, f"sample({n}, rng) must return {n} tasks, got {len(tasks)}.")
    for task in tasks:
        returned = Task(json.loads(json.dumps(task.to_json())))
        require(returned == task, f"Task ({task}) does not survive a JSON round trip; it came back as ({returned}).")
    require(
        _sample(distribution, n, seed) == tasks,
        "sample(n, rng) gave other tasks with the same seed. Draw from the generator that is passed in, not from "
        "numpy.random or random, and keep no state between calls.",
    )
    require(len(set(tasks)) > 1, f"sample({n}, rng) gave the same task {n} times: ({tasks[0]}). Tasks must vary.")
    if distribution.same_tasks:
        return tasks
    if all(_sample(distribution, n, seed + other) == tasks for other in range(1, _OTHER_SEEDS + 1)):
        try:
            more = distribution.sample(_MANY_TASKS, np.random.default_rng(seed))
        except ValueError:
            more = tasks
        require(
            set(more) <= set(tasks),
            "sample(n, rng) gave the same tasks with every seed. Draw from the generator that is passed in.",
        )
    return tasks


def _make_env(distribution: TaskDistribution, task: Task) -> gym.Env[Any, Any]:
    try:
        env = distribution.make_env(task)
    except (Exception, SystemExit) as error:
        raise TaskDistributionError(f"make_env(({task})) raised {type(error).__name__}: {error}.") from error
    require(isinstance(env, gym.Env), f"make_env must return a gymnasium.Env, got {env!r}.")
    return env


def _check_apart(envs: Sequence[gym.Env[Any, Any]], tasks: Sequence[Task], name: str) -> None:
    """Check that all environments, built for the tasks in turn, are distinct; the method ``name`` built the last."""
    pair = sharing_rows(envs)
    if pair is not None:
        task, its = (tasks[row % len(tasks)] for row in pair)
        raise TaskDistributionError(
            f"{name} gave task ({task}) the environment that task ({its}) has already ({envs[pair[0]].unwrapped}). "
            f"{SHARING_REMEDY}"
        )


def _check_spaces(env: gym.Env[Any, Any], first: gym.Env[Any, Any], task: Task) -> None:
    for name in ("observation_space", "action_space"):
        space, expected = getattr(env, name), getattr(first, name)
        require(
            space == expected, f"All tasks must share one {name}; task ({task}) has {space}, the first has {expected}."
        )
    try:
        check_spaces(env.observation_space, env.action_space)
    except (TypeError, ValueError) as error:
        raise TaskDistributionError(str(error)) from error


def _horizon(env: gym.Env[Any, Any], task: Task) -> int:
    try:
        return time_limit(env, f"The environment of task ({task}) has")
    except ValueError as error:
        raise TaskDistributionError(str(error)) from error


def _check_time_limit(episodes: list[list[Episode]], horizons: list[int]) -> None:
    played = [(episode, horizon) for row, horizon in zip(episodes, horizons, strict=True) for episode in row]
    require(
        # An episode of one step, as in a bandit, has no later value to bootstrap from.
        not all(episode.terminated and len(episode.reward) == horizon > 1 for episode, horizon in played),
        "Every episode was terminated just at its time limit. A time limit truncates: return truncated=True and "
        "terminated=False, so that values are bootstrapped there. If the task truly ends there, as a game with a fixed "
        "number of rounds does, raise its time limit, so that nothing is bootstrapped past its end.",
    )


def _check_tasks_differ(episodes: list[list[Episode]]) -> None:
    differ = any(
        not one.equals(other)
        for row, column in combinations(episodes, 2)
        for one, other in zip(row, column, strict=True)
    )
    require(
        differ,
        f"All {len(episodes)} tasks behaved the same: with the same seed and actions, no observation or reward "
        f"differed in {EPISODES} random episodes. make_env may not apply the task's parameters, or a reset undoes "
        "them. If rewards are too rare for random actions, put a denser one in info['training_reward'], or give a "
        "policy that earns them.",
    )


def _check_vector_env(
    distribution: TaskDistribution, tasks: Sequence[Task], made: Sequence[gym.Env[Any, Any]], seed: int
) -> None:
    env = made[0]
    try:
        envs = distribution.make_vec_env(tasks)
    except (Exception, SystemExit) as error:
        raise TaskDistributionError(f"make_vec_env(tasks) raised {type(error).__name__}: {error}.") from error
    require(isinstance(envs, VectorEnv), f"make_vec_env must return a gymnasium.vector.VectorEnv, got {envs!r}.")
    with closing(envs):
        n = len(tasks)
        require(envs.num_envs == n, f"make_vec_env must build one environment per task, {n}, got {envs.num_envs}.")
        for name in ("observation_space", "action_space"):
            single, own = getattr(envs, f"single_{name}"), getattr(env, name)
            require(
                single == own, f"make_vec_env's single_{name} is {single}, make_env's {name} is {own}; they must agree."
            )
        mode = envs.metadata.get("autoreset_mode")
        require(
            mode is AutoresetMode.DISABLED,
            f"make_vec_env must use AutoresetMode.DISABLED (pass autoreset_mode to SyncVectorEnv), got {mode}.",
        )
        _check_apart([*made, *getattr(envs.unwrapped, "envs", [])], tasks, "make_vec_env")
        try:
            prepare(envs, tasks)
            _check_lone_reset(envs, env, tasks, seed)
        except EnvError as error:
            raise TaskDistributionError(f"In the result of make_vec_env: {error}") from error


def _check_lone_reset(envs: VectorEnv[Any, Any, Any], env: gym.Env[Any, Any], tasks: Sequence[Task], seed: int) -> None:
    n = len(tasks)
    envs.reset(seed=seed)
    envs.action_space.seed(seed)
    observations, *_, infos = envs.step(envs.action_space.sample())
    before = observation_rows(env.observation_space, observations)
    expected = (n, gym.spaces.flatdim(env.observation_space))
    require(
        before.shape == expected,
        f"make_vec_env's step returned observations of the shape {before.shape}, not {expected}.",
    )
    for name in COLLECTION_KEYS:
        read_numbers(infos, name, n, tasks)
    mask = np.arange(n) == 0
    after = observation_rows(env.observation_space, envs.reset(options={"reset_mask": mask})[0])
    require(
        np.array_equal(after[1:], before[1:]),
        "make_vec_env's environments must reset alone: reset(options={'reset_mask': mask}) changed an environment "
        "outside the mask.",
    )


def _check_relabel(distribution: TaskDistribution, tasks: Sequence[Task], episodes: list[list[Episode]]) -> None:
    for task, row in zip(tasks, episodes, strict=True):
        for episode in row:
            observation, next_observation = episode.observation[:-1], episode.observation[1:]
            rewards = episode.reward, episode.training_reward
            computes_rewards(distribution, task, observation, episode.action, next_observation, *rewards)
