"""Environments of every kind of space, whose observations are samples of it, and models that act in them."""

import copy

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pearl import Task, TaskDistribution
from tests.support.small import small_model

HORIZON = 6
BOX = spaces.Box(-9.0, 9.0, (3,))
IMAGES = spaces.Box(0, 255, (16, 18, 3), np.uint8)
OBSERVATIONS = {
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
ACTIONS = {
    "discrete": spaces.Discrete(3, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "multi-binary": spaces.MultiBinary(2),
    "matrix": spaces.Box(-1.0, 1.0, (2, 2)),
}


class Sampler(gym.Env):
    """Observes samples of a space, seeded; the reward is the task's number if the action is in its space."""

    def __init__(self, number, observation_space, action_space):
        self.number = number
        self.observation_space, self.action_space = copy.deepcopy(observation_space), action_space
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(action)
        return self.observation_space.sample(), self.number, False, False, {}


class Samplers(TaskDistribution):
    def __init__(self, observation_space, action_space):
        self.spaces = observation_space, action_space

    def sample(self, n, rng):
        return [Task({"number": number}) for number in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Sampler(task.params["number"], *self.spaces), HORIZON)


def model_of(observations, actions):
    agent = {"hidden_sizes": (8,), "image_channels": (3,), "image_features": 4}
    return small_model(Samplers(OBSERVATIONS[observations], ACTIONS[actions]), agent=agent)


def env_of(model, number=0.5):
    return model.task_distribution.make_env(Task({"number": number}))
