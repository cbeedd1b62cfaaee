"""The MuJoCo families: rewards worked out from the simulator's state, ends of episodes, and parameters that differ."""

import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pearl.config import PEARLConfig, load_preset
from pearl.tasks.check import check_task_distribution
from pearl.tasks.distribution import Task
from pearl.tasks.mujoco import (
    AntDir,
    AntForwardBackward,
    AntGoal,
    CheetahDir,
    CheetahVel,
    HopperRandParams,
    HumanoidDir,
    WalkerRandParams,
)
from pearl.tasks.registry import families, make

SPACES = {
    CheetahVel: (17, 6),
    CheetahDir: (17, 6),
    AntForwardBackward: (27, 8),
    AntDir: (27, 8),
    AntGoal: (29, 8),
    HumanoidDir: (348, 17),
    WalkerRandParams: (17, 6),
    HopperRandParams: (11, 3),
}
FAMILIES = list(SPACES)
RAND_PARAMS = [WalkerRandParams, HopperRandParams]
NEVER_TERMINATE = [CheetahVel, CheetahDir, AntGoal]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def tasks_of(family, n=3, seed=0):
    return family().sample(n, np.random.default_rng(seed))


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


@every_family
def test_every_task_has_the_same_flat_spaces_and_a_limit_of_200_steps(family):
    observation_dim, action_dim = SPACES[family]
    for task in tasks_of(family):
        env = family().make_env(task)
        assert env.observation_space.shape == (observation_dim,)
        assert env.action_space.shape == (action_dim,)
        assert env.spec.max_episode_steps == 200
        observation, _ = env.reset(seed=0)
        assert observation in env.observation_space
        env.close()


@every_family
def test_the_families_are_registered_and_have_a_preset(family):
    assert type(make(family.name)) is family
    assert family.name in families()
    preset = load_preset(family.name)
    assert preset != PEARLConfig()
    assert ("next_observation" in preset.encoder.context_fields) == (family in RAND_PARAMS)
    if family.same_tasks:
        assert preset.training.n_train_tasks == preset.evaluation.n_test_tasks == 2


@every_family
def test_the_same_generator_state_gives_the_same_tasks(family):
    tasks = tasks_of(family, 6, seed=7)
    assert tasks == tasks_of(family, 6, seed=7)
    assert [Task(task.to_json()) for task in tasks] == tasks
    if family.same_tasks:
        assert set(tasks[:2]) == set(tasks[2:4]) == {Task({"direction": 1}), Task({"direction": -1})}
        assert {tasks_of(family, 1, seed)[0] for seed in range(20)} == set(tasks)
    else:
        assert tasks != tasks_of(family, 6, seed=8)
        assert len(set(tasks)) == 6


def test_velocities_angles_and_goals_cover_their_ranges():
    velocity = np.array([task.params["velocity"] for task in tasks_of(CheetahVel, 2000)])
    assert velocity.min() >= 0
    assert np.histogram(velocity, bins=4, range=(0, 3))[0] == pytest.approx([500] * 4, abs=100)

    for family in (AntDir, HumanoidDir):
        angle = np.array([task.params["angle"] for task in tasks_of(family, 2000)])
        assert np.histogram(angle, bins=4, range=(0, 2 * np.pi))[0] == pytest.approx([500] * 4, abs=100)

    goal = np.array([task.params["goal"] for task in tasks_of(AntGoal, 2000)])
    radius = np.hypot(*goal.T)
    assert radius.max() <= 3
    # Uniform in the disc: the squared radius is uniform.
    assert np.histogram(radius**2, bins=4, range=(0, 9))[0] == pytest.approx([500] * 4, abs=100)
    assert goal.mean(axis=0) == pytest.approx([0, 0], abs=0.15)


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


def test_an_ant_that_has_a_goal_observes_where_it_is():
    env = AntGoal().make_env(Task({"goal": [1.0, 0.0]}))
    env.reset(seed=0)
    observation, *_ = env.step(np.ones(8, np.float32))
    assert np.array_equal(observation[:2], env.unwrapped.data.qpos[:2])


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


@pytest.mark.parametrize(("family", "width"), [(AntDir, 105), (AntForwardBackward, 105), (AntGoal, 107)])
def test_contact_forces_are_observed_on_request_and_not_zero_on_the_ground(family, width):
    env = family(contact_forces=True).make_env(tasks_of(family)[0])
    assert env.observation_space.shape == (width,)
    observation, _ = env.reset(seed=0)
    for _ in range(30):
        observation, *_ = env.step(np.zeros(8, np.float32))
    assert np.abs(observation[-78:]).max() > 0
    assert np.abs(observation[-78:]).max() <= 1


@every_family
def test_the_same_seed_gives_the_same_episode_and_an_environment_survives_pickling(family):
    def episode(env):
        env.reset(seed=3)
        env.action_space.seed(3)
        return [env.step(env.action_space.sample())[:2] for _ in range(5)]

    env = family().make_env(tasks_of(family)[0])
    first, again, copied = episode(env), episode(env), episode(pickle.loads(pickle.dumps(env.unwrapped)))
    for (observation, reward), (o_again, r_again), (o_copied, r_copied) in zip(first, again, copied, strict=True):
        assert np.array_equal(observation, o_again)
        assert np.array_equal(observation, o_copied)
        assert reward == r_again == r_copied


@every_family
def test_environments_step_together_and_a_masked_one_resets_alone(family):
    tasks = tasks_of(family, 2)
    envs = family().make_vec_env(tasks)
    envs.reset(seed=[4, 5])
    actions = envs.action_space.sample()
    before, rewards, terminations, truncations, _ = envs.step(actions)
    alone = family().make_env(tasks[1])
    alone.reset(seed=5)
    observation, reward, *_ = alone.step(actions[1])
    assert np.array_equal(before[1], observation)
    assert rewards[1] == reward
    assert not (terminations | truncations).any()
    before = before.copy()
    after, _ = envs.reset(options={"reset_mask": np.array([False, True])})
    assert np.array_equal(after[0], before[0])
    assert not np.array_equal(after[1], before[1])
    envs.close()


PLAY = """
import logging, os, sys
import numpy as np
import pearl, pearl.tasks.mujoco as families
assert "mujoco" not in sys.modules, "imported without need"
for name in ("CheetahVel", "CheetahDir", "AntForwardBackward", "AntDir", "AntGoal", "HumanoidDir", "WalkerRandParams",
             "HopperRandParams"):
    family = getattr(families, name)()
    env = family.make_env(family.sample(1, np.random.default_rng(0))[0])
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
# What MuJoCo has to say of an unstable simulation goes to logging, which this process discards.
logging.getLogger("pearl").addHandler(logging.NullHandler())
env = families.CheetahVel().make_env(families.Task({"velocity": 1.0}))
env.reset(seed=0)
env.unwrapped.data.qvel[:] = 1e12
env.step(env.action_space.sample())
assert env.unwrapped.data.warning.number.sum() > 0
"""


def test_playing_says_nothing_on_stderr_and_leaves_no_log_file(tmp_path):
    done = run_python(PLAY, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_without_mujoco_the_families_are_listed_and_building_one_says_what_to_install(tmp_path):
    done = run_python(
        "import sys; sys.modules['mujoco'] = None\n"
        "import pearl.tasks.mujoco as families\n"
        "print(families.CheetahVel.name)\n"
        "families.CheetahVel().make_env(families.Task({'velocity': 1.0}))",
        tmp_path,
    )
    assert done.stdout == "cheetah-vel\n"
    assert done.stderr.strip().endswith("pip install pearl-metarl[mujoco]")
    assert "\nImportError: " in done.stderr


RENDER = """
import sys
import pearl.tasks.mujoco as families
env = families.CheetahVel().make_env(families.Task({"velocity": 1.0}), render_mode="rgb_array")
env.reset(seed=0)
try:
    frame = env.render()
except Exception as error:
    print("no OpenGL:", type(error).__name__)
    sys.exit()
print(frame.shape, frame.dtype, frame.std() > 0)
env.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="renders off screen through EGL, which is Linux's")
def test_an_environment_renders_frames(tmp_path):
    done = run_python(RENDER, tmp_path, MUJOCO_GL=os.environ.get("MUJOCO_GL", "egl"))
    if "no OpenGL" in done.stdout or (not done.stdout and "mujoco/egl/" in done.stderr):
        pytest.skip(f"MuJoCo finds no OpenGL to render with here: {done.stdout or done.stderr[-200:]}")
    assert (done.stdout, done.stderr) == ("(480, 480, 3) uint8 True\n", "")


def run_python(code, folder, **environment):
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = {"PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@every_family
def test_the_family_passes_its_examination(family):
    check_task_distribution(family(), n_tasks=2)
