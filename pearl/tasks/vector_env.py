"""One environment per task, stepped together in this process."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from encoders.abbreviation import abbreviated
from pearl.tasks.infos import EnvError, keep_numbers, labelled, merged

SHARING_REMEDY = (
    "Tasks are stepped side by side: build a new environment, with a simulator of its own, in each call of make_env."
)
"""Remedy in the error about two tasks that share an environment"""
_Caught = type[BaseException] | tuple[()]

_owners: WeakValueDictionary[int, SyncVectorEnv[Any, Any]] = WeakValueDictionary()
"""The vector environment that holds an unwrapped environment, by the latter's id (unique while it is held)"""


class TaskVectorEnv(SyncVectorEnv[Any, Any]):
    """Gymnasium's ``SyncVectorEnv`` in ``AutoresetMode.DISABLED``; its errors name tasks, its infos are per task.

    ``infos["each"]`` lists the info of each task as its environment returned it, empty for a task without one. The
    values that collection uses (``training_reward``, ``success``, ``is_success``) are float arrays, (task,), each with
    a mask such as ``_training_reward``.

    Args:
        make_env: builds the environment of a task.
        tasks: one environment per task, in this order.
        first_row: index of the first task, for errors.
        copy: whether returned observations are copies.
        caught: exceptions of an environment that are re-raised as an ``EnvError``; () for none.

    Raises:
        EnvError: an environment cannot be built, its spaces differ from the first one's, or two tasks share it.
    """

    def __init__(
        self,
        make_env: Callable[[Any], gym.Env[Any, Any]],
        tasks: Iterable[Any],
        *,
        first_row: int = 0,
        copy: bool = True,
        caught: _Caught = Exception,
    ) -> None:
        self.tasks = tuple(tasks)
        self.first_row = first_row
        made: list[_TaskEnv] = []
        try:
            for row, task in enumerate(self.tasks, first_row):
                made.append(_TaskEnv.make(make_env, task, row, caught))
                _check_spaces(made[0], made[-1])
            check_apart(made, self.tasks, first_row)
        except BaseException:
            for env in made:
                with suppress(Exception):
                    env.close()
            raise
        super().__init__([partial(_same, env) for env in made], copy=copy, autoreset_mode=AutoresetMode.DISABLED)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those in ``options["reset_mask"]``, (task,) bool.

        Raises:
            EnvError: an environment raised or returned an invalid value; the message names its task.
        """
        try:
            observations, _ = super().reset(seed=seed, options=options)
        except Exception as error:
            self._name_misfit("reset", error)
            raise
        return observations, self._infos()

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment, with actions (task, …).

        Raises:
            EnvError: an environment raised or returned an invalid value; the message names its task.
        """
        try:
            observations, rewards, terminations, truncations, _ = super().step(actions)
        except Exception as error:
            self._name_misfit("step", error)
            raise
        return observations, rewards, terminations, truncations, self._infos()

    def _infos(self) -> dict[str, Any]:
        return merged([env.__dict__.pop("info", {}) for env in self.envs], self.tasks, self.first_row)

    def _name_misfit(self, method: str, error: Exception) -> None:
        """Raise an error that names the task if its observation is not in the observation space."""
        if isinstance(error, EnvError):
            return
        space: Any = self.single_observation_space
        observations: list[Any] = self._env_obs
        for row, (env, observation) in enumerate(zip(self.envs, observations, strict=True), self.first_row):
            try:
                place: Any = create_empty_array(space, n=1)
                concatenate(space, [observation], place)
            except Exception:
                whose = labelled(row, self.tasks, self.first_row)
                shape = f" (shape {np.shape(observation)})" if isinstance(space, gym.spaces.Box) else ""
                raise EnvError(
                    f"The environment of {whose} returned an observation in {method} that is not in its space "
                    f"{env.observation_space}: {abbreviated(observation)}{shape}.",
                    row,
                ) from error


def _same(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return env


class _TaskEnv(gym.Wrapper[Any, Any, Any, Any]):
    """One task's environment: its exceptions name the task, and its info is kept unmerged."""

    def __init__(self, env: gym.Env[Any, Any], whose: str, row: int, caught: _Caught) -> None:
        super().__init__(env)
        self._whose, self._row, self._caught = whose, row, caught
        self.info: dict[str, Any]

    @classmethod
    def make(cls, make_env: Callable[[Any], gym.Env[Any, Any]], task: Any, row: int, caught: _Caught) -> "_TaskEnv":
        whose = labelled(row, (task,), row)
        try:
            return cls(make_env(task), whose, row, caught)
        except caught as error:
            raise _failed(whose, "build", error, row) from error

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        try:
            observation, info = self.env.reset(seed=seed, options=options)
            self.info = _checked(info)
        except self._caught as error:
            raise _failed(self._whose, "reset", error, self._row) from error
        return observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
            self.info = _checked(info)
            # A value that is not a number or a flag raises here, where the task is known.
            return observation, float(reward), bool(terminated), bool(truncated), {}
        except self._caught as error:
            raise _failed(self._whose, "step", error, self._row) from error

    def close(self) -> None:
        try:
            self.env.close()
        except self._caught as error:
            raise _failed(self._whose, "close", error, self._row) from error


def check_apart(envs: Sequence[gym.Env[Any, Any]], tasks: Sequence[object], first_row: int = 0) -> None:
    """Check that no two tasks share an environment, with or without wrappers.

    Args:
        envs: one per task.
        tasks: the tasks, for error messages.
        first_row: index of the first task.

    Raises:
        EnvError: two tasks share an environment.
    """
    if (pair := sharing_rows(envs)) is not None:
        row, other = (first_row + number for number in pair)
        whose, before = labelled(row, tasks, first_row), labelled(other, tasks, first_row)
        raise EnvError(_again(whose, before, envs[pair[0]]), row)


def sharing_rows(envs: Sequence[gym.Env[Any, Any]]) -> tuple[int, int] | None:
    """Return the indices of two environments with the same unwrapped one, the later first; None if all differ."""
    rows: dict[int, int] = {}
    for row, env in enumerate(envs):
        other = rows.setdefault(id(env.unwrapped), row)
        if other != row:
            return row, other
    return None


def prepare(envs: VectorEnv[Any, Any, Any], tasks: Sequence[object]) -> None:
    """Prepare a distribution's own vector environment for collection.

    Gymnasium's vector environments then merge numbers as ``TaskVectorEnv`` does.

    Raises:
        EnvError: two tasks share an environment, or another vector environment that is still open holds it.
    """
    base = envs.unwrapped
    if not isinstance(base, TaskVectorEnv):
        keep_numbers(envs)
    if isinstance(base, SyncVectorEnv):
        check_apart(base.envs, tasks)
        for row, env in enumerate(base.envs):
            owner = _owners.get(id(env.unwrapped))
            if owner is not None and owner is not base and not owner.closed:
                raise EnvError(_again(labelled(row, tasks), "a task whose environments are still open", env), row)
        _owners.update({id(env.unwrapped): base for env in base.envs})


def checked_reset_mask(options: dict[str, Any] | None, n_envs: int) -> NDArray[np.bool_]:
    """Return the mask of environments to reset, (env,): ``options["reset_mask"]`` if given, else all True.

    Raises:
        TypeError: the mask is not a numpy array of bool.
        ValueError: the mask's length is not the number of environments, or the mask is all False.
    """
    if options is None or "reset_mask" not in options:
        return np.ones(n_envs, np.bool_)
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a numpy array of bool, got {mask!r}.")
    if mask.shape != (n_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask'] must have the shape ({n_envs},) and choose at least one environment, got {mask!r}."
        )
    return mask


def _again(whose: str, before: str, env: gym.Env[Any, Any]) -> str:
    return f"make_env gave {whose} the environment of {before} again ({env.unwrapped}). {SHARING_REMEDY}"


def _check_spaces(first: gym.Env[Any, Any], env: "_TaskEnv") -> None:
    for name in ("observation_space", "action_space"):
        space, expected = getattr(env, name), getattr(first, name)
        if space != expected:
            raise EnvError(
                f"All tasks must share one {name}; {env._whose} has {space}, the first has {expected}.", env._row
            )


def _checked(info: Any) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise TypeError(f"info must be a dictionary, got {info!r}.")
    return info


def _failed(whose: str, method: str, error: BaseException, row: int) -> EnvError:
    return EnvError(f"The environment of {whose} failed to {method}: {type(error).__name__}: {error}", row)
