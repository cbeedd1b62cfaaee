"""Drift in the families that come with the framework: the physics that change, and the state that does not."""

import numpy as np
import pytest

from pearl import (
    DriftSchedule,
    LogUniform,
    Scale,
    Task,
    TaskDistribution,
    check_task_distribution,
    drifting,
    mirrored,
    perturbed,
    task_observed,
)
from pearl.tasks import make
from pearl.tasks.registry import families
from pearl.tasks.transforms.drift import Drift
from pearl.tasks.transforms.moving import MovingEnv

STEPS = 12
SWITCH = 7

MUJOCO = ("ant", "cheetah", "humanoid", "walker", "hopper")
FAMILIES = {
    **{
        name: lambda name=name: make(name)
        for name in (
            "point-robot",
            "image-point-robot",
            "varying-cartpole",
            "varying-pendulum",
            "cheetah-vel",
            "cheetah-dir",
            "ant-forward-backward",
            "ant-dir",
            "ant-goal",
            "humanoid-dir",
            "walker-rand-params",
            "hopper-rand-params",
        )
    },
    "mirrored-cheetah-vel": lambda: mirrored(make("cheetah-vel")),
    "task-observed-cheetah-vel": lambda: task_observed(make("cheetah-vel")),
    "pendulum-mass": lambda: perturbed("Pendulum-v1", {"m": LogUniform(0.5, 2.0)}),
    "cheetah-mass": lambda: perturbed(
        "HalfCheetah-v5", {"model.body_mass": Scale(LogUniform(0.5, 2.0))}, max_episode_steps=200
    ),
}


def built(name):
    if any(robot in name for robot in MUJOCO):
        pytest.importorskip("mujoco")
    return FAMILIES[name]() if name in FAMILIES else make(name)


class WithoutChange(TaskDistribution):
    """The tasks of another distribution, without its own way to change them."""

    def __init__(self, distribution):
        self.distribution = distribution

    def sample(self, n, rng):
        return self.distribution.sample(n, rng)

    def make_env(self, task, *, render_mode=None):
        return self.distribution.make_env(task, render_mode=render_mode)


def play(env, *, seed=3):
    env.reset(seed=seed)
    env.action_space.seed(seed)
    steps = []
    for _ in range(STEPS):
        observation, reward, terminated, _, _ = env.step(env.action_space.sample())
        steps.append((np.ravel(observation).astype(np.float64), float(reward)))
        if terminated:
            break
    return np.array([observation for observation, _ in steps]), np.array([reward for _, reward in steps])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_own_change_equals_the_change_of_the_attributes_that_differ(name):
    distribution = built(name)
    schedule = DriftSchedule(SWITCH)
    task = drifting(distribution, schedule).sample(1, np.random.default_rng(2))[0]
    by_family, by_attributes = (
        play(drifting(each, schedule).make_env(task)) for each in (distribution, WithoutChange(distribution))
    )
    assert len(by_family[1]) > SWITCH
    for one, other in zip(by_family, by_attributes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    # The task has changed: the first task's environment differs from the change on, not before.
    first = play(distribution.make_env(Drift.of(task).tasks[0]))
    together = [np.column_stack(steps)[: SWITCH + 1] for steps in (first, by_family)]
    assert [np.array_equal(*rows) for rows in zip(*together, strict=True)] == [True] * SWITCH + [False]


@pytest.mark.parametrize("name", ["cheetah-vel", "cheetah-dir", "ant-goal", "humanoid-dir", "point-robot"])
def test_where_the_reward_alone_changes_observations_are_those_of_one_task_and_rewards_those_of_two(name):
    distribution = built(name)
    one, other = distribution.sample(2, np.random.default_rng(0))
    env = drifting(distribution, DriftSchedule(SWITCH)).make_env(Drift((one, other), (SWITCH,)).to_task())
    (observations, rewards), before, after = (
        play(each) for each in (env, distribution.make_env(one), distribution.make_env(other))
    )
    assert np.array_equal(observations, before[0])
    assert np.array_equal(rewards[:SWITCH], before[1][:SWITCH])
    assert np.array_equal(rewards[SWITCH:], after[1][SWITCH:])
    assert rewards[SWITCH] != before[1][SWITCH]


def test_a_pendulum_swings_on_with_the_mass_and_the_torque_of_the_new_task():
    family = drifting(mirrored(perturbed("Pendulum-v1", {"m": LogUniform(0.5, 2.0)})), DriftSchedule(SWITCH))
    tasks = Task({"m": 0.5, "action_sign": 1}), Task({"m": 2.0, "action_sign": -1})
    env = family.make_env(Drift(tasks, (SWITCH,)).to_task())
    env.reset(seed=0)
    torque = np.array([1.0], np.float32)
    for _ in range(SWITCH):
        env.step(torque)
    angle, speed = env.unwrapped.state
    env.step(torque)
    expected = speed + (15 * np.sin(angle) + 3 / 2.0 * -1.0) * 0.05
    assert env.unwrapped.state == pytest.approx([angle + expected * 0.05, expected])


def test_a_poles_length_enters_its_derived_values_and_its_place_stays():
    family = make("varying-cartpole")
    one, other = ({"length": length, "masspole": 0.2, "action_sign": sign} for length, sign in ((0.3, 1), (0.8, -1)))
    env = family.make_env(Task(one))
    env.reset(seed=0)
    state = env.unwrapped.state
    MovingEnv(family, env, Task(one)).move(Task(other))
    assert np.array_equal(env.unwrapped.state, state)
    assert env.unwrapped.polemass_length == pytest.approx(0.16)
    assert env.unwrapped.total_mass == pytest.approx(1.2)
    assert env.action(0) == 1


@pytest.mark.parametrize("name", ["walker-rand-params", "hopper-rand-params", "cheetah-mass"])
def test_a_model_that_changed_is_that_of_a_new_environment_and_the_robots_state_stays(name):
    family = built(name)
    import mujoco

    tasks = family.sample(3, np.random.default_rng(0))
    env = family.make_env(tasks[0])
    play(env)
    before = {field: getattr(env.unwrapped.data, field).copy() for field in ("qpos", "qvel", "ctrl", "qacc_warmstart")}
    assert np.abs(before["qvel"]).max() > 0
    time = env.unwrapped.data.time
    for task in (*tasks[1:], tasks[0], tasks[1]):
        assert family.change_task(env, task)
        new = family.make_env(task)
        new.reset(seed=0)
        models = [np.empty(mujoco.mj_sizeModel(each.unwrapped.model), np.uint8) for each in (env, new)]
        for each, buffer in zip((env, new), models, strict=True):
            mujoco.mj_saveModel(each.unwrapped.model, None, buffer)
        assert np.array_equal(*models)
    assert env.unwrapped.data.time == time > 0
    for field, value in before.items():
        assert np.array_equal(getattr(env.unwrapped.data, field), value), field


def test_masses_grow_slowly_in_a_gradual_drift():
    family = drifting(perturbed("Pendulum-v1", {"m": LogUniform(0.5, 2.0)}), DriftSchedule(4, gradual=True))
    env = family.make_env(Drift((Task({"m": 1.0}), Task({"m": 2.0})), (4,), gradual=True).to_task())
    env.reset(seed=0)
    masses = []
    for _ in range(6):
        env.step(np.zeros(1, np.float32))
        masses.append(env.unwrapped.m)
    assert masses == pytest.approx([1.0, 1.25, 1.5, 1.75, 2.0, 2.0])
    env.reset()
    assert env.unwrapped.m == 1.0


@pytest.mark.parametrize("name", [name for name in families() if name.startswith("drifting-")])
def test_the_checker_accepts_the_drifting_families_that_come_with_the_framework(name):
    family = built(name)
    assert family.name == name
    check_task_distribution(family)


def test_reward_and_dynamics_of_the_drifting_point_robot_change_together():
    family = make("drifting-mirrored-point-robot")
    task = family.sample(1, np.random.default_rng(0))[0]
    drift = Drift.of(task)
    env = family.make_env(task)
    place, _ = env.reset(seed=0)
    action = np.array([0.5, -0.5], np.float32)
    for step in range(20):
        sign, goal = drift.at(step)[1].params["action_sign"], drift.at(step)[1].params["goal"]
        after, reward, *_ = env.step(action)
        np.testing.assert_allclose(after - place, 0.1 * sign * action, atol=1e-6)
        assert reward == pytest.approx(-np.hypot(*(after - goal)))
        place = after
    assert drift.tasks[0].params["action_sign"] == -drift.tasks[1].params["action_sign"]
