"""Tasks of walking along a line, which the checker passes, and what it has to say of those that break something."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pearl.tasks import Task, TaskDistribution, TaskDistributionError, check_task_distribution

HORIZON = 5


class Walk(gym.Env[Any, Any]):
    """A point on a line that starts at random; the reward is minus the distance to the goal."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, goal: float) -> None:
        self.goal = goal

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        self.steps = 0
        return self.position.copy(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.position = self.position + np.asarray(action, np.float32)
        self.steps += 1
        return self.position.copy(), -abs(float(self.position[0]) - self.goal), False, False, {}


class Walks(TaskDistribution):
    """What the broken distributions change one thing of."""

    env: Callable[[float], gym.Env[Any, Any]] = Walk
    horizon = HORIZON

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"goal": goal}) for goal in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(self.env(task.params["goal"]), self.horizon)


def walks_with(**changed: Any) -> Walks:
    """Walks whose environment has other attributes or methods."""
    walks: Walks = type("Broken", (Walks,), {"env": type("Odd", (Walk,), changed)})()
    return walks


def assert_found(distribution: Any, *messages: str) -> None:
    """Assert that the checker refuses a distribution with an error that says all of the messages."""
    with pytest.raises(TaskDistributionError) as caught:
        check_task_distribution(distribution, n_tasks=4)
    for message in messages:
        assert message in str(caught.value), str(caught.value)
