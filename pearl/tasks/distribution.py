"""Tasks and the distributions they are drawn from."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray


@dataclass(frozen=True)
class Task:
    """One MDP of a family: named parameters that survive a JSON round trip.

    Args:
        params: parameter names and values, for example ``{"velocity": 1.3}`` or ``{"goal": [0.3, -0.7]}``.
            Lists are held as tuples, and cannot be changed either.

    Raises:
        TypeError: a parameter is not a JSON value (convert numpy values with ``.tolist()``).
        ValueError: a parameter is NaN or infinite.
    """

    params: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            copied = json.loads(json.dumps(_thawed(dict(self.params)), allow_nan=False))
        except TypeError as error:
            raise TypeError(
                f"Task parameters must be JSON values (numbers, strings, booleans, lists), got {self.params!r}: "
                f"{error}. Convert numpy values with .tolist()."
            ) from error
        except ValueError as error:
            raise ValueError(f"Task parameters must be finite, got {self.params!r}.") from error
        object.__setattr__(self, "params", _frozen(copied))

    def __hash__(self) -> int:
        return hash(_hashable(self.params))

    def __str__(self) -> str:
        return ", ".join(f"{name}={_short(value)}" for name, value in self.params.items())

    def __reduce__(self) -> tuple[type["Task"], tuple[dict[str, Any]]]:
        return Task, (self.to_json(),)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as a plain dictionary of JSON values."""
        return {name: _thawed(value) for name, value in self.params.items()}


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _thawed(item) for name, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


def _hashable(value: Any) -> Any:
    # Not the JSON text: 1, 1.0 and True are equal and must hash alike.
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    return tuple(_hashable(item) for item in value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_short(item) for item in value) + ")"
    return str(value)


class TaskDistribution(ABC):
    """A distribution p(T) over tasks that share one observation and one action space.

    A user's own problem needs the two abstract methods; everything else has a default.
    """

    name: str = ""
    """Name shown in tables and file names; the class name where empty."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks."""

    @abstractmethod
    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build one environment of ``task``, with its time limit applied."""

    def make_vec_env(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        """Build one environment per task, stepped together, in ``AutoresetMode.DISABLED``.

        A sub-environment resets alone through ``reset(options={"reset_mask": mask})``, mask (task,) bool. Override it
        where the dynamics can be written for all tasks at once.
        """
        return SyncVectorEnv([partial(self.make_env, task) for task in tasks], autoreset_mode=AutoresetMode.DISABLED)

    def oracle_action(self, tasks: Sequence[Task], observation: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the actions of a policy that is told the task, or None where no such policy is known.

        It is the upper end of the normalised score.

        Args:
            tasks: one task per row.
            observation: (task, observation_dim).

        Returns:
            Actions, (task, action_dim), or None.
        """
        return None

    def relabel(
        self,
        tasks: Sequence[Task],
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        next_observation: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Compute the rewards that other tasks would have given for transitions, or None where that is not possible.

        Only for families whose tasks differ in reward alone (hindsight relabelling, Wan et al. 2021).

        Args:
            tasks: one task per row.
            observation: (task, step, observation_dim).
            action: (task, step, action_dim).
            next_observation: (task, step, observation_dim).

        Returns:
            The true reward and the training reward (the same where the family has no other), each (task, step).
        """
        return None
