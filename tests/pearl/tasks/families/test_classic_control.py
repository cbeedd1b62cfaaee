"""The varying CartPole and Pendulum: what varies, and that every second task is mirrored."""

import gymnasium as gym
import numpy as np
import pytest

import pearl
from pearl.tasks import Task, make

FAMILIES = ["varying-cartpole", "varying-pendulum"]
CARTPOLE = {"length": 0.25, "masspole": 0.4, "action_sign": 1}
PENDULUM = {"g": 9.0, "m": 1.2, "l": 0.8, "action_sign": 1}


def test_parameters_lie_in_their_ranges_and_half_of_the_tasks_are_mirrored():
    for family, ranges in (
        ("varying-cartpole", {"length": (0.25, 1.0), "masspole": (0.05, 0.5)}),
        ("varying-pendulum", {"g": (8, 12), "m": (0.75, 1.25), "l": (0.75, 1.25)}),
    ):
        tasks = make(family).sample(100, np.random.default_rng(0))
        for name, (low, high) in ranges.items():
            values = np.array([task.params[name] for task in tasks])
            assert low <= values.min() < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < values.max() <= high
        assert sum(task.params["action_sign"] for task in tasks) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_train_and_test_tasks_are_drawn_apart_and_both_are_half_mirrored(family):
    train, test = make(family).split(40, 20, np.random.default_rng(3))
    assert not set(train) & set(test)
    assert sum(task.params["action_sign"] for task in train) == sum(task.params["action_sign"] for task in test) == 0
    assert make(family).split(40, 20, np.random.default_rng(3)) == (train, test)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_passes_its_examination(family):
    pearl.check_task_distribution(make(family))


def test_a_poles_length_and_mass_enter_its_dynamics_and_left_is_right_where_mirrored():
    family = make("varying-cartpole")
    env = family.make_env(Task(CARTPOLE))
    env.reset(seed=0)
    assert (env.unwrapped.length, env.unwrapped.masspole) == (0.25, 0.4)
    assert env.unwrapped.total_mass == pytest.approx(1.4)
    assert env.unwrapped.polemass_length == pytest.approx(0.1)
    mirrored = family.make_env(Task({**CARTPOLE, "action_sign": -1}))
    mirrored.reset(seed=0)
    right, left = env.step(1), mirrored.step(0)
    assert right[0] == pytest.approx(left[0])
    assert right[0][1] > 0
    assert right[1] == 1.0


def test_a_torque_does_what_the_equation_of_motion_says():
    family = make("varying-pendulum")
    for sign in (1, -1):
        env = family.make_env(Task({**PENDULUM, "action_sign": sign}))
        env.reset(seed=0)
        env.unwrapped.state = np.array([0.5, 0.1])
        observation, reward, *_ = env.step(np.array([1.5], np.float32))
        acceleration = 3 * 9.0 / (2 * 0.8) * np.sin(0.5) + 3 / (1.2 * 0.8**2) * sign * 1.5
        assert observation[2] == pytest.approx(0.1 + 0.05 * acceleration, rel=1e-5)
        assert reward == pytest.approx(-(0.5**2 + 0.1 * 0.1**2 + 0.001 * 1.5**2))


@pytest.mark.parametrize(("family", "horizon"), [("varying-cartpole", 500), ("varying-pendulum", 200)])
def test_the_time_limit_truncates_and_does_not_terminate(family, horizon):
    env = make(family).make_env(make(family).sample(1, np.random.default_rng(0))[0])
    env = gym.wrappers.TransformReward(env, float)
    env.reset(seed=0)
    for step in range(1, horizon + 1):
        if family == "varying-cartpole":
            env.unwrapped.state = np.zeros(4)
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated
        assert truncated == (step == horizon)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_can_be_rendered(family):
    pytest.importorskip("pygame")
    env = make(family).make_env(make(family).sample(1, np.random.default_rng(0))[0], render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.ndim == 3
    assert frame.std() > 0
    env.close()
