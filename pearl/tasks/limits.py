"""Time limits of environments."""

from typing import Any

import gymnasium as gym
import numpy as np

_ATTRIBUTES = ("max_episode_steps", "_max_episode_steps")
_NUMBERS = (int, float, np.integer, np.floating)


def own_time_limit(env: gym.Env[Any, Any]) -> int | None:
    """Return the number of steps after which an environment truncates, or None if it is unknown.

    It is the minimum of ``spec.max_episode_steps`` and the ``TimeLimit`` wrappers at any depth. Without these, it is
    the attribute ``max_episode_steps`` or ``_max_episode_steps`` of the environment or of one of its wrappers.
    """
    limits = [] if env.spec is None else [env.spec.max_episode_steps]
    attributes = []
    layer: Any = env
    while layer is not None:
        if isinstance(layer, gym.wrappers.TimeLimit):
            # The spec lacks a wrapper around an unregistered environment, or around a shorter time limit.
            limits.append(layer._max_episode_steps)
        else:
            attributes += [getattr(layer, name, None) for name in _ATTRIBUTES]
        layer = layer.env if isinstance(layer, gym.Wrapper) else None
    for candidates in (limits, attributes):
        counts = [
            int(limit)
            for limit in candidates
            if isinstance(limit, _NUMBERS) and not isinstance(limit, bool) and limit > 0 and float(limit).is_integer()
        ]
        if counts:
            return min(counts)
    return None


def time_limit(env: gym.Env[Any, Any], whose: str) -> int:
    """Return the number of steps after which an environment truncates.

    Args:
        env: the environment.
        whose: start of the error message, for example "The environment of task (goal=3) has".

    Raises:
        ValueError: the environment has no time limit.
    """
    limit = own_time_limit(env)
    if limit is None:
        raise ValueError(
            f"{whose} no time limit, so an episode might never end. Wrap what make_env returns in "
            "gymnasium.wrappers.TimeLimit, or register it with max_episode_steps."
        )
    return limit
