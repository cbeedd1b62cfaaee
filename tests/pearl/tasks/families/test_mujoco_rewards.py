"""The MuJoCo families' rewards, worked out from the simulator's state, and the ends of their episodes."""

import math

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pearl.tasks.distribution import Task
from pearl.tasks.families.mujoco import AntDir, AntForwardBackward, AntGoal, CheetahDir, CheetahVel, HumanoidDir
from tests.support.tasks.mujoco_families import RAND_PARAMS, tasks_of

NEVER_TERMINATE = [CheetahVel, CheetahDir, AntGoal]


def torso(env):
    return env.unwrapped.data.body("torso").xpos[:2].copy()


def centre_of_mass(env):
    model, data = env.unwrapped.model, env.unwrapped.data
    return (model.body_mass[:, None] * data.xipos).sum(axis=0)[:2] / model.body_mass.sum()


def x_of_root(env):
    return env.unwrapped.data.qpos[:1].copy()


def played(family, task, position, steps=5):
    """Yield a step's velocity, reward, action and environment, after a few random steps."""
    env = family().make_env(task)
    env.reset(seed=1)
    env.action_space.seed(1)
    for _ in range(steps):
        action = env.action_space.sample()
        before = position(env)
        _, reward, terminated, _, info = env.step(action)
        assert not terminated
        yield (position(env) - before) / env.unwrapped.dt, reward, action.astype(np.float64), env, info
    env.close()


def approximately(reward):
    """Equal but for the v5 models' squares of actions, which are taken in float32."""
    return pytest.approx(reward, abs=1e-5)


def square(values):
    return float(np.square(np.asarray(values, np.float64)).sum())


def test_a_cheetah_pays_for_the_difference_to_its_velocity_and_for_its_action():
    for velocity, reward, action, _, info in played(CheetahVel, Task({"velocity": 1.5}), x_of_root):
        assert info["x_velocity"] == pytest.approx(velocity[0])
        assert reward == approximately(-abs(velocity[0] - 1.5) - 0.05 * square(action))


@pytest.mark.parametrize("direction", [1, -1])
def test_a_cheetah_earns_its_velocity_in_its_direction(direction):
    for velocity, reward, action, _, _ in played(CheetahDir, Task({"direction": direction}), x_of_root):
        assert reward == approximately(direction * velocity[0] - 0.05 * square(action))


@pytest.mark.parametrize(
    ("family", "task", "heading"),
    [
        (AntForwardBackward, {"direction": 1}, (1, 0)),
        (AntForwardBackward, {"direction": -1}, (-1, 0)),
        (AntDir, {"angle": 0.5}, (math.cos(0.5), math.sin(0.5))),
        (AntDir, {"angle": 4.0}, (math.cos(4.0), math.sin(4.0))),
    ],
)
def test_an_ant_earns_its_velocity_along_its_heading_and_one_for_surviving(family, task, heading):
    contacts = []
    for velocity, reward, action, env, _ in played(family, Task(task), torso, steps=30):
        contact = square(np.clip(env.unwrapped.data.cfrc_ext, -1, 1))
        contacts.append(contact)
        assert reward == approximately(velocity @ heading - 0.5 * square(action) - 0.0005 * contact + 1)
    assert max(contacts) > 0, "it touches the ground"


def test_an_ant_pays_the_distance_along_both_axes_to_its_goal():
    for _, reward, action, env, _ in played(AntGoal, Task({"goal": [-1.0, 2.0]}), torso, steps=30):
        x, y = env.unwrapped.data.qpos[:2]
        contact = square(np.clip(env.unwrapped.data.cfrc_ext, -1, 1))
        assert reward == approximately(-abs(x + 1) - abs(y - 2) - 0.1 * square(action) - 0.0005 * contact)


def test_a_humanoid_earns_its_centre_of_masss_velocity_along_its_heading_and_five_for_being_alive():
    heading = math.cos(2.0), math.sin(2.0)
    for velocity, reward, action, env, _ in played(HumanoidDir, Task({"angle": 2.0}), centre_of_mass):
        contact = min(5e-7 * square(env.unwrapped.data.cfrc_ext), 10)
        assert reward == approximately(1.25 * velocity @ heading - 0.1 * square(action) - contact + 5)


@pytest.mark.parametrize("family", RAND_PARAMS)
def test_a_walker_with_other_parameters_earns_its_velocity_and_one_for_being_alive(family):
    for velocity, reward, action, _, _ in played(family, tasks_of(family)[0], x_of_root):
        assert reward == approximately(velocity[0] - 0.001 * square(action) + 1)


@pytest.mark.parametrize(
    ("family", "bonus"), [(AntDir, 1), (AntForwardBackward, 1), (HumanoidDir, 5), *((f, 1) for f in RAND_PARAMS)]
)
def test_a_robot_that_leaves_its_heights_terminates_and_its_last_step_has_the_bonus_too(family, bonus):
    env = family().make_env(tasks_of(family)[0])
    env.reset(seed=0)
    outside = env.unwrapped.data.qpos.copy()
    outside[1 if family in RAND_PARAMS else 2] = 0.1 if family in RAND_PARAMS else 9.0
    env.unwrapped.set_state(outside, np.zeros_like(env.unwrapped.data.qvel))
    _, _, terminated, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
    assert (terminated, truncated) == (True, False)
    assert info["reward_survive"] == bonus


@pytest.mark.parametrize("family", NEVER_TERMINATE)
def test_an_episode_is_truncated_after_200_steps_and_does_not_terminate(family):
    env = family().make_env(tasks_of(family)[0])
    env.reset(seed=0)
    env.action_space.seed(0)
    for step in range(1, 201):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated
        assert truncated == (step == 200)


def test_an_ant_that_has_a_goal_plays_on_when_its_torso_is_high():
    env = AntGoal().make_env(Task({"goal": [1.0, 0.0]}))
    env.reset(seed=0)
    high = env.unwrapped.data.qpos.copy()
    high[2] = 5.0
    env.unwrapped.set_state(high, np.zeros(14))
    assert env.step(np.zeros(8, np.float32))[2:4] == (False, False)
