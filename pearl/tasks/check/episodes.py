"""Episodes for the check of a task distribution."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.finite import FLOAT32_MAX
from agents.spaces import action_rows, observation_row
from pearl.tasks.check.units import Extent, exact_row, overflow
from pearl.tasks.distribution import Task
from pearl.tasks.infos import SUCCESSES, is_number

EPISODES = 2


class TaskDistributionError(ValueError):
    """A task distribution violates an assumption of meta-training."""


@dataclass(frozen=True)
class Episode:
    """Record of one episode."""

    observation: NDArray[Any]
    """(step + 1, observation_dim)"""
    action: NDArray[np.float32]
    """(step, action_dim)"""
    reward: NDArray[np.float32]
    """(step,)"""
    training_reward: NDArray[np.float32]
    """(step,)"""
    terminated: bool
    extent: Extent
    """Ranges of the observations"""

    def equals(self, other: "Episode") -> bool:
        """Return whether observations, rewards and termination are equal."""
        return self.terminated == other.terminated and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("observation", "reward", "training_reward")
        )


def require(condition: bool, message: str) -> None:
    """Raise ``TaskDistributionError`` with a message unless a condition holds."""
    if not condition:
        raise TaskDistributionError(message)


def play(
    env: gym.Env[Any, Any], task: Task, horizon: int, seed: int, number: int, policy: Callable[[Any], Any] | None
) -> Episode:
    """Play one episode.

    Episode 0 draws a random action at each step. Later episodes follow ``policy``; without one they repeat one random
    action, which moves far from the start.
    """
    env.action_space.seed(EPISODES * seed + number)
    action = env.action_space.sample()
    returned = call(task, "reset", lambda: env.reset(seed=seed + number))
    require(
        isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict),
        f"reset must return (observation, info) with a dictionary as info, got {returned!r} of task ({task}).",
    )
    observation = returned[0]
    observations = [checked_observation(env, observation, "reset", task)]
    extent = Extent(env.observation_space)
    extent.see(observation)
    actions: list[NDArray[Any]] = []
    rewards: list[float] = []
    training_rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated):
        require(
            len(rewards) < horizon,
            f"An episode of task ({task}) went past its time limit of {horizon} steps without truncation. Wrap what "
            "make_env returns in gymnasium.wrappers.TimeLimit.",
        )
        if number == 0:
            action = env.action_space.sample()
        elif policy is not None:
            action = np.asarray(policy(observation), env.action_space.dtype)
        step = call(task, "step", lambda action=action: env.step(action.copy()))
        require(
            isinstance(step, tuple) and len(step) == 5,
            f"step must return (observation, reward, terminated, truncated, info), got {step!r} of task ({task}).",
        )
        observation, reward, terminated, truncated, info = step
        observations.append(checked_observation(env, observation, "step", task))
        extent.see(observation)
        rewards.append(_checked_reward(reward, "reward", task))
        for flag, value in (("terminated", terminated), ("truncated", truncated)):
            require(
                isinstance(value, bool | np.bool_), f"{flag} must be True or False, got {value!r} of task ({task})."
            )
        require(isinstance(info, dict), f"step must return a dictionary as info, got {info!r} of task ({task}).")
        training_rewards.append(_checked_reward(info.get("training_reward", reward), "info['training_reward']", task))
        for name in SUCCESSES:
            require(
                is_number(info.get(name, False)),
                f"info[{name!r}] must be one number or truth value, got {info.get(name)!r} of task ({task}).",
            )
        actions.append(action)
    return Episode(
        observation=np.stack(observations),
        action=action_rows(env.action_space, actions),
        reward=np.array(rewards, np.float32),
        training_reward=np.array(training_rewards, np.float32),
        terminated=bool(terminated),
        extent=extent,
    )


def call(task: Task, method: str, function: Any) -> Any:
    """Call a user's function; an error names its task."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise TaskDistributionError(f"{method} of task ({task}) raised {type(error).__name__}: {error}") from error


def checked_observation(env: gym.Env[Any, Any], observation: Any, method: str, task: Task) -> NDArray[Any]:
    """Return an observation as a row, (observation_dim,), if it is in the space and finite."""
    contained = env.observation_space.contains(observation)
    with np.errstate(over="ignore"):
        row = observation_row(env.observation_space, observation)[0] if contained else np.array([np.nan])
    too_large = overflow(exact_row(env.observation_space, observation)) if np.isinf(row).any() else None
    require(too_large is None, f"The observation that {method} returned for task ({task}) {too_large}.")
    require(
        bool(np.isfinite(row).all()),
        f"The observation that {method} returned for task ({task}) is not in the observation space "
        f"{env.observation_space}: {observation!r}. Its type, shape and bounds must agree, and it must be finite.",
    )
    return row


def _checked_reward(reward: Any, name: str, task: Task) -> float:
    kind = int | float | np.integer | np.floating
    require(
        isinstance(reward, kind) and not isinstance(reward, bool) and bool(-math.inf < reward < math.inf),
        f"{name} must be a finite number, got {reward!r} of task ({task}).",
    )
    require(
        bool(abs(reward) <= FLOAT32_MAX),
        f"{name} of task ({task}) is {reward!r}, which is infinite in float32: agents learn in float32, up to "
        f"{FLOAT32_MAX:.2g}. Scale rewards to about one in make_env.",
    )
    return float(reward)
