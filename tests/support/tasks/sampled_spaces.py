"""Environments of every kind of space, whose observations are samples of it, and models that act in them."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pearl import PEARL, MetaLearner, Task, TaskDistribution
from tests.support.small import small_model

HORIZON = 6
BOX = spaces.Box(-9.0, 9.0, (3,))
IMAGES = spaces.Box(0, 255, (16, 18, 3), np.uint8)
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": BOX,
    "matrix": spaces.Box(-9.0, 9.0, (2, 2)),
    "discrete": spaces.Discrete(7, start=-3),
    "dict": spaces.Dict({"arm": BOX, "gear": spaces.Discrete(3), "doors": spaces.MultiBinary(2)}),
    "tuple": spaces.Tuple([spaces.MultiDiscrete([2, 3]), BOX]),
    "image": IMAGES,
    "grey image": spaces.Box(0, 255, (16, 18), np.uint8),
    "channels first": spaces.Box(0, 255, (3, 16, 18), np.uint8),
    "stack of frames": spaces.Box(0, 255, (2, 16, 18, 3), np.uint8),
    "grid of bytes": spaces.Box(0, 255, (7, 7, 3), np.uint8),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "multi-binary": spaces.MultiBinary(2),
    "matrix": spaces.Box(-1.0, 1.0, (2, 2)),
}


class Sampler(gym.Env[Any, Any]):
    """Observes samples of a space, seeded; the reward is the task's number if the action is in its space."""

    def __init__(self, number: float, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.number = number
        self.observation_space, self.action_space = copy.deepcopy(observation_space), action_space
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.actions.append(action)
        return self.observation_space.sample(), self.number, False, False, {}


class Samplers(TaskDistribution):
    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.spaces = observation_space, action_space

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"number": number}) for number in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(Sampler(task.params["number"], *self.spaces), HORIZON)


def model_of(observations: str, actions: str) -> PEARL:
    """A small model in environments of two kinds of space, by their names in `OBSERVATIONS` and `ACTIONS`."""
    agent = {"hidden_sizes": (8,), "observations": {"image_channels": (3,), "image_features": 4}}
    return small_model(Samplers(OBSERVATIONS[observations], ACTIONS[actions]), agent=agent)


def env_of(model: MetaLearner, number: float = 0.5) -> gym.Env[Any, Any]:
    """An environment of the model's task distribution."""
    return model.task_distribution.make_env(Task({"number": number}))
