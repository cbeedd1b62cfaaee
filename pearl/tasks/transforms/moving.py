"""Moves a running environment from task to task without a reset, and checks that a family's environments allow it."""

from contextlib import ExitStack, closing
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.spaces import observation_row
from pearl.tasks.check.episodes import TaskDistributionError
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.transforms.attributes import UnmovableError, differences, move_task

_SEED = 0
_STEPS = 8
"""Steps after which a moved environment still has to behave as a new one of its task"""
_TOLERANCE = 1e-3
_REMEDY = (
    "Define change_task(self, env, task) in the task distribution: give the running environment the task, leave "
    "everything else as it is, and return True."
)


class MovingEnv:
    """A running environment and its task, which can change without a reset.

    Args:
        distribution: the family of the tasks.
        env: an environment that its ``make_env`` built.
        task: the environment's task.
    """

    def __init__(self, distribution: TaskDistribution, env: gym.Env[Any, Any], task: Task) -> None:
        self.env = env
        self.task = task
        self.by_family = False
        """Whether the family's own ``change_task`` made the last change"""
        self._distribution = distribution
        self._twin: gym.Env[Any, Any] | None = None

    def move(self, task: Task) -> None:
        """Change the task; the state of the environment carries over.

        Raises:
            TaskDistributionError: the family has no ``change_task``, and the task cannot be told from the state.
        """
        if task is self.task:
            return
        self.by_family = self._distribution.change_task(self.env, task)
        if self.by_family not in (True, False):
            raise TaskDistributionError(
                f"change_task of {type(self._distribution).__name__} must return True, or False if it leaves the "
                f"environment as it is, got {self.by_family!r}."
            )
        if not self.by_family:
            old = self._distribution.make_env(self.task) if self._twin is None else self._twin
            with closing(old):
                self._twin = self._distribution.make_env(task)
                try:
                    move_task(old, self._twin, self.env)
                except UnmovableError as error:
                    raise _unmovable(self._distribution, str(error)) from error
        self.task = task

    def close(self) -> None:
        """Close the environment that was built for comparison, if any; the running one stays open."""
        if self._twin is not None:
            self._twin.close()


def check_moving(distribution: TaskDistribution, task: Task, other: Task) -> None:
    """Check that an environment of ``task`` that changes to ``other`` behaves as a new one of ``other``.

    The changed environment and the new one play the same few random actions. If the family has its own
    ``change_task``, both are reset before, since its starts may depend on the task.

    Raises:
        TaskDistributionError: the environment cannot be moved, or behaves otherwise; the message says what to do.
    """
    with ExitStack() as stack:
        env, new = (stack.enter_context(closing(distribution.make_env(each))) for each in (task, other))
        moving = stack.enter_context(closing(MovingEnv(distribution, env, task)))
        env.reset(seed=_SEED)
        moving.move(other)
        if moving.by_family:
            env.reset(seed=_SEED)
        else:
            _check_attributes(distribution, task, other)
        new.reset(seed=_SEED)
        if new.spec is not None and new.spec.nondeterministic:
            return
        new.action_space.seed(_SEED)
        for _ in range(_STEPS):
            action = new.action_space.sample()
            found, expected = (_step(each, action) for each in (env, new))
            if not np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
                who = (
                    f"change_task of {type(distribution).__name__} returned True, but "
                    if moving.by_family
                    else "with the attributes of the latter, "
                )
                raise _unmovable(
                    distribution,
                    f"{who}an environment that changed from task ({task}) to task ({other}) behaves otherwise than a "
                    "new environment of the latter",
                )
            if found[-1] or expected[-1]:
                return


def _check_attributes(distribution: TaskDistribution, task: Task, other: Task) -> None:
    """Check that the attributes that differ between new environments are the task's, and all that is of the task."""
    with ExitStack() as stack:
        old, again, new = (stack.enter_context(closing(distribution.make_env(each))) for each in (task, task, other))
        try:
            random = sorted({str(found) for found in differences(old, again)})
            before = {str(found) for found in differences(old, new)}
            for env in (old, new):
                env.reset(seed=_SEED)
            computed = sorted({str(found) for found in differences(old, new)} - before)
        except UnmovableError as error:
            raise _unmovable(distribution, str(error)) from error
    if random:
        raise _unmovable(distribution, f"two new environments of the same task differ in {', '.join(random)}")
    if computed:
        raise _unmovable(
            distribution,
            f"a reset makes {', '.join(computed)} depend on the task, so that task and state cannot be told apart",
        )


def _step(env: gym.Env[Any, Any], action: Any) -> NDArray[np.float64]:
    """Return the numbers that a step returns: observation, reward, and whether the episode terminated."""
    observation, reward, terminated, _, _ = env.step(action)
    row = observation_row(env.observation_space, observation)[0]
    return np.array([*row, float(reward), float(terminated)], np.float64)


def _unmovable(distribution: TaskDistribution, reason: str) -> TaskDistributionError:
    name = distribution.name or type(distribution).__name__
    return TaskDistributionError(
        f"A running environment of {name!r} cannot be moved to another task: {reason}. {_REMEDY}"
    )
