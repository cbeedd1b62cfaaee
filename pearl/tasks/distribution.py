"""Tasks and task distributions."""

import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from encoders.abbreviation import abbreviated
from pearl.tasks.vector_env import TaskVectorEnv


@dataclass(frozen=True)
class Task:
    """One MDP of a family: named parameters that survive a JSON round trip.

    Args:
        params: parameter names and values, for example ``{"velocity": 1.3}`` or ``{"goal": [0.3, -0.7]}``.
            Lists are stored as tuples, so that a task is immutable. Training teaches PEARL's encoder to predict the
            parameters.

    Raises:
        TypeError: a parameter is not a JSON value (convert numpy values with ``.tolist()``), or a name is not a string.
        ValueError: a parameter is NaN or infinite.
    """

    params: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_names(self.params, self.params)
        try:
            copied = json.loads(json.dumps(_thawed(dict(self.params)), allow_nan=False))
        except TypeError as error:
            raise TypeError(
                f"Task parameters must be JSON values (numbers, strings, booleans, lists), got "
                f"{abbreviated(self.params)}: {error}. Convert numpy values with .tolist()."
            ) from error
        except ValueError as error:
            raise ValueError(f"Task parameters must be finite, got {abbreviated(self.params)}.") from error
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


def _check_names(value: Any, params: Any) -> None:
    """Refuse names that are not strings: JSON would turn 1 into "1"."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(
                    f"Names in task parameters must be strings, as in JSON, got {name!r} ({type(name).__name__}) in "
                    f"{params!r}. Write {str(name)!r}, and convert it in make_env."
                )
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_names(item, params)


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


def parse_task(text: str, *, like: Task) -> Task:
    """Parse a task from ``name=value`` pairs separated by spaces; commas separate list items: ``goal=0.3,-0.7``.

    Args:
        text: one or more pairs; ``like`` gives the parameters that the text leaves out.
        like: a task of the same family, which defines the names and shapes.

    Raises:
        ValueError: a name is unknown (the message suggests the nearest), a value is not a number, or a list has the
            wrong length.
    """
    params = like.to_json()
    for pair in text.split():
        name, equals, value = pair.partition("=")
        if not equals or name not in params:
            near = difflib.get_close_matches(name, params, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"A task of this family is given as {_pattern(like)!r}, got {pair!r}.{hint}")
        old = params[name]
        items = [_value(item, old[0] if isinstance(old, list) else old, like) for item in value.split(",")]
        if (isinstance(old, list) and len(items) != len(old)) or (not isinstance(old, list) and len(items) != 1):
            raise ValueError(f"A task of this family is given as {_pattern(like)!r}, got {pair!r}.")
        params[name] = items if isinstance(old, list) else items[0]
    return Task(params)


def _value(text: str, old: Any, like: Task) -> Any:
    if isinstance(old, str):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"A task of this family is given as {_pattern(like)!r}; {text!r} is no number.") from None


def _pattern(like: Task) -> str:
    values = (
        (name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in like.to_json().items()
    )
    return " ".join(f"{name}={value}" for name, value in values)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_short(item) for item in value) + ")"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={_short(item)}" for name, item in value.items()) + "}"
    return str(value)


class Plane(NamedTuple):
    """The plane that a task's robot moves in, for pictures; the observation begins with the robot's position."""

    goal: tuple[float, float]
    goal_radius: float | None = None
    """Distance within which the goal counts as reached; None if the reward has no such threshold"""
    half_circle: bool = False
    """Whether the family's goals lie on the unit half circle"""


class TaskDistribution(ABC):
    """A distribution p(T) over tasks that share one observation and one action space.

    A subclass defines the two abstract methods; all other methods have a default.
    """

    name: str = ""
    """Name shown in tables and file names; the class name if empty."""

    same_tasks: bool = False
    """Whether the test tasks are the training tasks, as in families of a few tasks; evaluations report it."""

    simulators: tuple[str, ...] = ()
    """Installed packages, such as mujoco, whose versions are recorded with every result: physics differs by version."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks."""

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw the training tasks and the test tasks; if ``same_tasks``, they are the same, each once, or fewer.

        Override this method if test tasks come from a different set than training tasks (Meta-World's ML10).
        """
        if self.same_tasks:
            drawn = list(dict.fromkeys(self.sample(max(n_train, n_test), rng)))
            return drawn[:n_train], drawn[:n_test]
        drawn = self.sample(n_train + n_test, rng)
        return drawn[:n_train], drawn[n_train:]

    @abstractmethod
    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build a new environment of ``task`` with its time limit; it shares no state with another environment."""

    def make_vec_env(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        """Build one environment per task, stepped together, in ``AutoresetMode.DISABLED``.

        ``reset(options={"reset_mask": mask})`` with mask (task,) bool resets only the environments in the mask.
        Override this method to compute the dynamics of all tasks at once.

        Raises:
            EnvError: an environment cannot be built, its spaces differ from the others', or two tasks share it.
        """
        return TaskVectorEnv(self.make_env, tasks)

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Move a running environment to another task without a reset, and return True; return False if unable.

        Everything but the task carries over: the robot's pose, velocities, the time, the generator of random numbers.
        After a later reset too the environment is that of ``task``. ``pearl.drifting`` calls this method. If it returns
        False, as by default, the attributes are moved in which new environments of the two tasks differ.

        Args:
            env: an environment that ``make_env`` built.
            task: the task of its next step.
        """
        return False

    def change_vec_task(self, envs: VectorEnv[Any, Any, Any], row: int, task: Task) -> bool:
        """Do as ``change_task`` in a vector environment; return False if unable, as by default.

        It is only called for a distribution with its own ``make_vec_env``. If it returns False, drifting tasks are
        stepped one by one.

        Args:
            envs: a vector environment that ``make_vec_env`` built.
            row: index of the environment that changes.
            task: the task of its next step.
        """
        return False

    def oracle_action(self, tasks: Sequence[Task], observation: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the actions of a policy that knows the task, or None if the family has no such policy.

        The return of this policy is the upper end of the normalised score.

        Args:
            tasks: one task per row.
            observation: (task, observation_dim).

        Returns:
            Actions, (task, action_dim), or None.
        """
        return None

    def plane(self, task: Task) -> Plane | None:
        """Return the plane of ``task`` if its robot moves in a plane, else None."""
        return None

    def relabel(
        self,
        tasks: Sequence[Task],
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        next_observation: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Compute the rewards of transitions under other tasks, or return None if that is not possible.

        Only for families whose tasks differ in reward alone (hindsight relabelling, Wan et al. 2021): if an episode
        terminates at its task's goal, transitions of another task do not. PEARL uses it by default where a random
        policy hardly meets rewards (``training.relabelling.candidates``).

        Args:
            tasks: one task per row.
            observation: (task, step, observation_dim).
            action: (task, step, action_dim).
            next_observation: (task, step, observation_dim).

        Returns:
            The true reward and the training reward (equal if the family has only one), each (task, step).
        """
        return None


def relabels(distribution: TaskDistribution) -> bool:
    """Return whether a family can compute the rewards of transitions under other tasks."""
    return type(distribution).relabel is not TaskDistribution.relabel


def family_name(distribution: TaskDistribution) -> str:
    """Return the registered name of a family, or its class name if it is not registered."""
    return distribution.name or type(distribution).__name__
