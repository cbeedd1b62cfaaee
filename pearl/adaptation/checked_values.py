"""Checks of the values that a user's own loop passes to a session or a policy."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.finite import ACTION_REMEDY, FLOAT32_MAX, NonFiniteError, is_finite
from agents.spaces import as_numbers, check_action, checked_rows, env_actions, is_discrete, observation_row, part_of

ORDINARY = 1e10
"""Magnitude up to which no value overflows in the networks; larger values may"""
ROUNDING = 1e-3
"""Tolerance at an action's bounds, as a share of the range"""

_FLOATS = (float, np.floating)


def observed(space: gym.Space[Any], observation: Any, *, single: bool = True) -> NDArray[Any]:
    """Return one observation, or a batch of them, as rows (row, observation_dim).

    Raises:
        NonFiniteError: a number is NaN or infinite.
        ValueError: the observation does not have the form of the space.
    """
    rows = observation_row(space, observation) if single else checked_rows(space, observation)
    if not is_finite(rows):
        raise _not_finite("observation", rows, space)
    return rows


def chosen(space: gym.Space[Any], rows: NDArray[np.float32]) -> NDArray[Any]:
    """Convert an agent's actions (row, action_dim) to actions of the space, one per row.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    if not is_finite(rows):
        raise NonFiniteError(f"The agent's action is {rows}, which is not finite. {ACTION_REMEDY}")
    return env_actions(space, rows)


class TransitionReader:
    """Converts transitions to rows.

    Args:
        observation_space: space of the observations.
        action_space: space of the actions, a finite set or a bounded Box.
    """

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self._space = observation_space
        self._action_space = action_space
        self._is_discrete = is_discrete(action_space)
        self._bounds: list[tuple[float, float]] = []
        if isinstance(action_space, gym.spaces.Box):
            low, high = (bound.ravel().astype(np.float64) for bound in (action_space.low, action_space.high))
            beyond = ROUNDING * (high - low)
            self._bounds = list(zip((low - beyond).tolist(), (high + beyond).tolist(), strict=True))
        self._small_actions = all(low > -ORDINARY and high < ORDINARY for low, high in self._bounds)

    def __call__(
        self, observation: Any, action: ArrayLike, reward: Any, next_observation: Any
    ) -> tuple[tuple[NDArray[Any], ...], bool]:
        """Return each value as a row (1, dim), the reward as (1,), and whether all numbers are of ordinary size.

        Raises:
            NonFiniteError: a number is NaN or infinite.
            ValueError: a value does not have the form of its space, or the reward is not one real number.
        """
        row, earned = self._action(action), _real(reward)
        before = observation_row(self._space, observation)
        after = observation_row(self._space, next_observation, "next_observation")
        # One sum of squares detects both NaN and large numbers, faster than a mask.
        ordinary = (
            self._small_actions
            and -ORDINARY < earned < ORDINARY
            and math.fsum(map(np.vdot, (before, after), (before, after))) < ORDINARY**2
        )
        if not ordinary:
            for name, observed in (("observation", before), ("next_observation", after)):
                if not is_finite(observed):
                    raise _not_finite(name, observed, self._space)
        return (before, row, np.array([earned], np.float32), after), ordinary

    def _action(self, action: ArrayLike) -> NDArray[np.float32]:
        if type(action) is not np.ndarray or action.dtype.kind != "f":
            action = np.asarray(action) if isinstance(action, int | np.integer) else as_numbers(action, "action")
            if action.dtype.kind == "b" and self._bounds:
                raise ValueError(f"action must be an array of numbers, got {action!r}.")
        if self._is_discrete or action.shape != self._action_space.shape:
            check_action(self._action_space, action)
        row = np.array(action, np.float32).reshape(1, -1)
        # For a few numbers, a loop is faster than NumPy.
        for (low, high), number in zip(self._bounds, row[0].tolist(), strict=False):
            if not low <= number <= high:
                if not is_finite(row):
                    raise _not_finite("action", row)
                raise ValueError(
                    f"action must lie in {self._action_space}, got {action!r}. Give the action that the environment "
                    "carried out."
                )
        return row


def flag(name: str, value: Any) -> bool:
    """Return a flag of any type as a bool.

    Raises:
        ValueError: ``value`` is not a single True, False, 1 or 0.
    """
    if value is True or value is False:
        return bool(value)
    array = np.asarray(value)
    if array.shape == () and (array.dtype.kind == "b" or (array.dtype.kind in "iu" and value in (0, 1))):
        return bool(value)
    remedy = f" Give {name}[i] of each environment i to a session of its own." if array.ndim else ""
    raise ValueError(f"{name} must be True or False, got {value!r}; the belief was left as it was.{remedy}")


def _real(reward: Any) -> float:
    """Return a reward, a real number of any type, as a float that is finite in single precision."""
    if not isinstance(reward, _FLOATS):
        # A tensor with a gradient cannot become an array; None stands for it and is refused like any non-number.
        array = np.asarray(reward) if not getattr(reward, "requires_grad", False) else np.asarray(None)
        whole = isinstance(reward, int) and not isinstance(reward, bool)  # NumPy makes an object of a long one.
        if array.shape != () or not (whole or array.dtype.kind in "fiu"):
            remedy = " Give reward[i] of each environment i to a session of its own." if array.ndim else ""
            raise ValueError(f"reward must be one real number, got {reward!r}; the belief was left as it was.{remedy}")
    try:
        number = float(reward)
    except OverflowError:  # a whole number of any length
        number = math.inf
    if not -FLOAT32_MAX <= number <= FLOAT32_MAX:
        raise NonFiniteError(f"reward must be finite in single precision, got {reward}; the belief was left as it was.")
    return number


def _not_finite(name: str, row: NDArray[Any], space: gym.Space[Any] | None = None) -> NonFiniteError:
    """Return the error for a value that is not finite; it names the part that is not finite."""
    place, columns = name, slice(None)
    if space is not None:
        place, columns = part_of(space, int(np.nonzero(~np.isfinite(row))[-1][0]), name)
    return NonFiniteError(
        f"{place} must be finite in single precision, got {row[..., columns]}; the belief was left as it was."
    )
