"""Tasks of walking along a line, which the checker passes, and what it has to say of those that break something."""

import gymnasium as gym
import numpy as np
import pytest

from pearl.tasks import Task, TaskDistribution, TaskDistributionError, check_task_distribution

HORIZON = 5


class Walk(gym.Env):
    """A point on a line that starts at random; the reward is minus the distance to the goal."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, goal):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        self.steps = 0
        return self.position.copy(), {}

    def step(self, action):
        self.position = self.position + np.asarray(action, np.float32)
        self.steps += 1
        return self.position.copy(), -abs(float(self.position[0]) - self.goal), False, False, {}


class Walks(TaskDistribution):
    """What the broken distributions change one thing of."""

    env = Walk
    horizon = HORIZON

    def sample(self, n, rng):
        return [Task({"goal": goal}) for goal in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(self.env(task.params["goal"]), self.horizon)


def walks_with(**changed):
    """Walks whose environment has other attributes or methods."""
    return type("Broken", (Walks,), {"env": type("Odd", (Walk,), changed)})()


def assert_found(distribution, *messages):
    """Assert that the checker refuses a distribution with an error that says all of the messages."""
    with pytest.raises(TaskDistributionError) as caught:
        check_task_distribution(distribution, n_tasks=4)
    for message in messages:
        assert message in str(caught.value), str(caught.value)
