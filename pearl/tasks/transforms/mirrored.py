"""Task distributions with mirrored actions in half of the tasks."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pearl.tasks.arguments import check_distribution
from pearl.tasks.distribution import Task, TaskDistribution, family_name

ACTION_SIGN = "action_sign"
"""Task parameter that mirroring adds: 1 for the environment's own actions, -1 for mirrored ones"""


class Mirrored(TaskDistribution):
    """The tasks of another distribution, every second one with mirrored actions, like a steering wheel in reverse.

    No single policy solves both halves, so an agent must adapt. A mirrored Box action is reflected at the middle of
    its bounds; the first of n discrete actions becomes the last.

    Args:
        distribution: the distribution to mirror.
        name: the family's name; "mirrored-" plus the distribution's name if None.

    Raises:
        TypeError: ``distribution`` is not a task distribution.
        ValueError: its tasks already have a parameter ``action_sign``.
    """

    def __init__(self, distribution: TaskDistribution, *, name: str | None = None) -> None:
        self.distribution = check_distribution(distribution, "distribution")
        self.name = f"mirrored-{family_name(distribution)}" if name is None else name
        self.same_tasks = distribution.same_tasks
        self.simulators = distribution.simulators
        if ACTION_SIGN in distribution.sample(1, np.random.default_rng(0))[0].params:
            raise ValueError(f"The tasks of {family_name(distribution)!r} have a parameter {ACTION_SIGN!r} already.")

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks, mirrored and unmirrored in turn; the generator decides which comes first."""
        first = int(rng.integers(2))
        return _in_turn(self.distribution.sample(n, rng), first)

    def split(self, n_train: int, n_test: int, rng: np.random.Generator) -> tuple[list[Task], list[Task]]:
        """Draw training and test tasks as the distribution does, and mirror every second one of each."""
        first = int(rng.integers(2))
        train, test = self.distribution.split(n_train, n_test, rng)
        return _in_turn(train, first), _in_turn(test, first)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task.

        Raises:
            ValueError: the task's ``action_sign`` is missing, or neither 1 nor -1.
        """
        inner, reverse = _parted(task)
        return MirroredActions(self.distribution.make_env(inner, render_mode=render_mode), reverse=reverse)

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Move a running environment to another task; return False if the distribution cannot move its own."""
        inner, reverse = _parted(task)
        if not (isinstance(env, MirroredActions) and self.distribution.change_task(env.env, inner)):
            return False
        env.reverse = reverse
        return True


class MirroredActions(gym.ActionWrapper[Any, Any, Any]):
    """Wrapper that mirrors each action before the environment's step.

    Args:
        env: the environment.
        reverse: whether actions are mirrored; they stay as they are if not.

    Raises:
        TypeError: the action space has no mirror image, for example a Dict.
    """

    def __init__(self, env: gym.Env[Any, Any], *, reverse: bool = True) -> None:
        super().__init__(env)
        self.reverse = reverse
        self._low, self._high = _bounds(env.action_space)

    def action(self, action: Any) -> Any:
        """Reflect an action at the middle of the space, if actions are mirrored."""
        if not self.reverse:
            return action
        # Rounding could exceed a bound.
        return np.clip(self._low + self._high - action, self._low, self._high).astype(self.action_space.dtype)


def _parted(task: Task) -> tuple[Task, bool]:
    """Return the task without its sign, and whether actions are mirrored."""
    params = task.to_json()
    sign = params.pop(ACTION_SIGN, None)
    if sign not in (1, -1):
        raise ValueError(f"{ACTION_SIGN} must be 1 or -1, got {sign!r} in the task ({task}).")
    return Task(params), sign == -1


def _in_turn(tasks: list[Task], first: int) -> list[Task]:
    return [Task({**task.to_json(), ACTION_SIGN: 1 if (first + index) % 2 else -1}) for index, task in enumerate(tasks)]


def _bounds(space: gym.Space[Any]) -> tuple[Any, Any]:
    match space:
        case spaces.Box():
            return space.low, space.high
        case spaces.Discrete():
            return space.start, space.start + space.n - 1
        case spaces.MultiDiscrete():
            return space.start, space.start + space.nvec - 1
        case spaces.MultiBinary():
            return np.zeros(space.shape), np.ones(space.shape)
    raise TypeError(f"Actions of {space} have no mirror image; Box and discrete actions have.")


mirrored = Mirrored
"""Mirror the actions in half of a distribution's tasks: ``mirrored(perturbed("Pendulum-v1", …))``."""
