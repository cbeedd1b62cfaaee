"""Rare rewards: whether a random policy meets any, and whether the family can compute them."""

import gymnasium as gym
import numpy as np
import pytest

import pearl
from pearl.evaluation.rare_rewards import TASKS, rare_and_computable
from pearl.tasks import make
from pearl.tasks.check.episodes import TaskDistributionError
from tests.support.small import Counting


class Hidden(gym.Env):
    """A step to the left or right; being at least 4 to the task's side is rewarded."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, side, *, ends=False):
        self.side, self.ends = side, ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0.0
        return np.array([0], np.float32), {}

    def step(self, action):
        self.place += 0.1 * float(action[0])
        reward = float(self.place * self.side > 1)
        return np.array([self.place], np.float32), reward, self.ends, False, {}


class Sides(pearl.TaskDistribution):
    """Hidden sides whose rewards can be computed."""

    ends = False

    def sample(self, n, rng):
        return [pearl.Task({"side": side}) for side in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Hidden(task.params["side"], ends=self.ends), 20)

    def relabel(self, tasks, observation, action, next_observation):
        side = np.array([task.params["side"] for task in tasks])[:, None]
        reward = (next_observation[..., 0] * side > 1).astype(np.float32)
        return reward, reward


def rare(distribution, **settings):
    return rare_and_computable(distribution, distribution.sample(12, np.random.default_rng(0)), seed=0, **settings)


def test_rewards_that_a_random_policy_does_not_meet_are_rare():
    assert rare(Sides())
    assert rare(Sides(), workers=2)
    assert rare(make("sparse-point-robot"))  # Its training reward is dense; the encoder does not read that one.
    assert not rare(make("point-robot"))


def test_rewards_are_not_rare_where_episodes_terminate():
    class Ending(Sides):
        ends = True

    assert not rare(Ending())


def test_a_family_that_does_not_compute_its_rewards_is_not_even_played():
    class Silent(Counting):
        def make_env(self, task, *, render_mode=None):
            pytest.fail("played")

    assert not rare(Silent())


def test_rewards_that_relabel_declines_to_compute_are_not_searched_for():
    class Declining(Sides):
        def relabel(self, tasks, observation, action, next_observation):
            return None

    assert not rare(Declining())


def test_relabel_that_computes_other_rewards_than_the_environments_is_an_error_that_names_it():
    class Wrong(Sides):
        def relabel(self, tasks, observation, action, next_observation):
            reward = np.ones(observation.shape[:2], np.float32)
            return reward, reward

    with pytest.raises(TaskDistributionError, match="relabel must reproduce the environment's reward"):
        rare(Wrong())


def test_ten_tasks_are_played():
    class Counted(Sides):
        played = 0

        def make_env(self, task, *, render_mode=None):
            type(self).played += 1
            return super().make_env(task, render_mode=render_mode)

    assert rare(Counted())
    assert Counted.played == TASKS
