"""Fixtures of the tests of adaptation."""

from typing import Any

import gymnasium as gym
import pytest

from pearl import PEARL
from pearl.tasks.families.point_robot_env import EPISODE_STEPS, PointRobotEnv
from tests.support.sessions import GOAL
from tests.support.small import small_model


@pytest.fixture(scope="module")
def model() -> PEARL:
    """A point-robot model with random weights."""
    return small_model("point-robot", encoder={"hidden_sizes": (64, 64)}, agent={"hidden_sizes": (32,)})


@pytest.fixture
def env() -> gym.Env[Any, Any]:
    """The point robot with one goal."""
    return gym.wrappers.TimeLimit(PointRobotEnv(GOAL), EPISODE_STEPS)
