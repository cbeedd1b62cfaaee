"""What the tests of adaptation share: a model and an environment, sessions played by hand, memories compared."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from pearl.tasks.families.point_robot_env import EPISODE_STEPS, PointRobotEnv
from tests.support.small import small_model

GOAL = (0.5, -0.25)


@pytest.fixture(scope="module", name="model")
def point_robot_model():
    """A point-robot model with random weights."""
    return small_model("point-robot", encoder={"hidden_sizes": (64, 64)}, agent={"hidden_sizes": (32,)})


@pytest.fixture(name="env")
def point_robot_env():
    return gym.wrappers.TimeLimit(PointRobotEnv(GOAL), EPISODE_STEPS)


def play_by_hand(session, env, *, episodes, seed):
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            action = session.act(observation)
            following, reward, terminated, truncated, _ = env.step(action)
            session.observe(observation, action, reward, following, terminated, truncated)
            observation, ended = following, terminated or truncated


def observe_at_random(session, n, *, seed=0):
    """Transitions of a random walk that the agent had no part in; no episode ends."""
    rng = np.random.default_rng(seed)
    for observation, action in zip(*rng.uniform(-1, 1, (2, n, 2)).astype(np.float32), strict=True):
        following = observation + 0.1 * action
        session.observe(observation, action, -float(np.hypot(*(following - GOAL))), following, False, False)


def tensors(memory):
    """Every tensor in a memory: tensors and nested tuples of them."""
    return [memory] if isinstance(memory, torch.Tensor) else [leaf for part in memory for leaf in tensors(part)]


def same(one, other):
    return all(torch.equal(mine, theirs) for mine, theirs in zip(tensors(one), tensors(other), strict=True))
