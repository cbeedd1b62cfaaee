"""Fixtures of the tests of adaptation."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

from pearl import PEARL
from pearl.adaptation import fitting
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


@pytest.fixture
def fit_briefly(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Callable[[int], None]:
    """Returns a function that lets models learn from a tenth of the steps, by as many gradient steps."""

    def set_steps(gradient_steps: int) -> None:
        monkeypatch.setattr(fitting, "STEPS", 4_000)
        monkeypatch.setattr(fitting, "GRADIENT_STEPS", gradient_steps)

    return set_steps
