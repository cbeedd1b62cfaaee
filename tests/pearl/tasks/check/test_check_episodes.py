"""The checker of task distributions plays episodes: what it says of their resets, steps, ends and differences."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from pearl.tasks import check_task_distribution
from tests.support.small import small_model
from tests.support.tasks.walks import HORIZON, Walk, Walks, assert_found, walks_with


def test_a_missing_time_limit_is_found():
    endless = {"make_env": lambda self, task, *, render_mode=None: Walk(task.params["goal"])}
    assert_found(type("Endless", (Walks,), endless)(), "has no time limit", "gymnasium.wrappers.TimeLimit")


def test_a_time_limit_that_is_declared_but_not_kept_is_found():
    class Claimed(Walks):
        def make_env(self, task, *, render_mode=None):
            env = Walk(task.params["goal"])
            env.spec = gym.envs.registration.EnvSpec("test/Walk-v0", max_episode_steps=HORIZON)
            return env

    assert_found(Claimed(), "went past its time limit of 5 steps without truncation")


def test_termination_in_place_of_truncation_is_found():
    class Ending(Walk):
        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            return observation, reward, self.steps == HORIZON, False, info

    broken = type("Broken", (Walks,), {"env": Ending})
    assert_found(broken(), "terminated just at its time limit", "truncated=True", "raise its time limit")
    broken.horizon = HORIZON + 1
    check_task_distribution(broken())


class Bandit(Walk):
    """Its episodes truly end after a step."""

    def step(self, action):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, True, False, info


@pytest.mark.parametrize("horizon", [1, 2])
def test_episodes_of_one_step_that_terminate_pass(horizon):
    bandits = type("Bandits", (Walks,), {"env": Bandit, "horizon": horizon})
    check_task_distribution(bandits())


def test_episodes_of_one_step_are_learnt_from_without_bootstrapping():
    model = small_model(type("Bandits", (Walks,), {"env": Bandit, "horizon": 1})())
    model.learn(30)
    assert model.training.replay.rows(torch.arange(4), torch.zeros(4, 1, dtype=torch.int64)).terminated.all()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(1, np.float32), "reset must return (observation, info)"),
        ((np.zeros(1, np.float32), None), "reset must return (observation, info) with a dictionary"),
        ((np.zeros(2, np.float32), {}), "The observation that reset returned for task (goal="),
        ((np.zeros(1, np.float64), {}), "is not in the observation space Box(-inf, inf, (1,), float32)"),
        ((np.array([np.nan], np.float32), {}), "it must be finite"),
    ],
)
def test_a_broken_reset_is_found(returned, message):
    assert_found(walks_with(reset=lambda self, *, seed=None, options=None: returned), message)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: np.zeros(2, np.float32)}, "The observation that step returned for task (goal="),
        ({1: float("nan")}, "reward must be a finite number, got nan"),
        ({1: np.zeros(1)}, "reward must be a finite number, got array([0.])"),
        ({1: None}, "reward must be a finite number, got None"),
        ({2: 0}, "terminated must be True or False, got 0"),
        ({4: []}, "step must return a dictionary as info, got []"),
        ({4: {"success": None}}, "info['success'] must be one number or truth value, got None of task (goal="),
        ({4: {"is_success": np.ones(1)}}, "info['is_success'] must be one number or truth value, got array([1.])"),
        ({4: {"training_reward": float("inf")}}, "info['training_reward'] must be a finite number, got inf"),
    ],
)
def test_a_broken_step_is_found(changed, message):
    def step(self, action):
        step = Walk.step(self, action)
        return tuple(changed.get(i, value) for i, value in enumerate(step))

    assert_found(walks_with(step=step), message)


def test_the_old_step_of_four_values_is_found():
    class Old(Walks):
        def make_env(self, task, *, render_mode=None):
            env: Any = Walk(task.params["goal"])
            env.step = lambda action: (np.zeros(1, np.float32), 0.0, False, {})
            env.spec = gym.envs.registration.EnvSpec("test/Walk-v0", max_episode_steps=HORIZON)
            return env

    assert_found(Old(), "step must return (observation, reward, terminated, truncated, info)")


def test_a_step_that_fails_is_found_with_its_error():
    def step(self, action):
        raise RuntimeError("simulator lost")

    assert_found(walks_with(step=step), "step of task (goal=", "raised RuntimeError: simulator lost")


def test_draws_from_elsewhere_than_the_environments_generator_are_found():
    def reset(self, *, seed=None, options=None):
        Walk.reset(self, seed=seed)
        self.position = np.random.default_rng().uniform(-1, 1, 1).astype(np.float32)
        return self.position.copy(), {}

    assert_found(walks_with(reset=reset), "is not deterministic: after reset(seed=0)", "self.np_random")


def test_tasks_that_all_behave_the_same_are_found():
    class Ignoring(Walks):
        def make_env(self, task, *, render_mode=None):
            return gym.wrappers.TimeLimit(Walk(0.0), HORIZON)

    assert_found(Ignoring(), "All 4 tasks behaved the same", "may not apply the task's parameters")


def test_tasks_that_differ_in_the_training_reward_alone_pass():
    class Sparse(Walk):
        def step(self, action):
            observation, reward, terminated, truncated, _ = super().step(action)
            return observation, 0.0, terminated, truncated, {"training_reward": reward}

    check_task_distribution(type("Sparsely", (Walks,), {"env": Sparse})())


class Locked(Walk):
    """Pays for nothing but full steps forward, which random actions all but never are."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward * float(action[0] == 1.0), terminated, truncated, info


def test_tasks_that_random_actions_cannot_tell_apart_pass_with_a_policy_that_can():
    locked = type("Locks", (Walks,), {"env": Locked})()
    assert_found(locked, "All 4 tasks behaved the same", "give a policy that earns them")
    seen = []

    def forward(observation):
        seen.append(observation)
        return [1.0]

    check_task_distribution(locked, policy=forward)
    assert all(observation.shape == (1,) for observation in seen)
