"""The MuJoCo families: tasks from a generator, spaces and observations, seeded episodes, quiet processes."""

import importlib.metadata
import pickle

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pearl import Scale, Uniform, mirrored, perturbed
from pearl.config.run import PEARLConfig, load_preset
from pearl.model.saving import versions
from pearl.runs.report import draw_evaluation
from pearl.tasks.check.distribution import check_task_distribution
from pearl.tasks.distribution import Task
from pearl.tasks.families.mujoco import AntDir, AntForwardBackward, AntGoal, CheetahVel, HumanoidDir
from pearl.tasks.registry import families, make
from tests.support.processes import assert_names_what_to_install, assert_renders, assert_says_nothing, can_render
from tests.support.small import small_model
from tests.support.tasks.mujoco_families import RAND_PARAMS, SPACES, every_family, tasks_of


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
    if family in RAND_PARAMS:  # whose dynamics differ
        assert "next_observation" in preset.encoder.context_fields
    if family.same_tasks:
        assert preset.training.n_train_tasks == preset.evaluation.n_test_tasks == 2


@every_family
def test_an_evaluation_of_a_family_can_be_drawn_however_many_numbers_its_tasks_have(tmp_path, family):
    model = small_model(family(), evaluation={"n_test_tasks": 2, "exploration_episodes": 1, "episodes": 2})
    drawn = draw_evaluation(model.agent, model.task_distribution, model.test_tasks, model.evaluate(), tmp_path)
    assert {"return_by_episode.png", "posterior_means.png", "posterior_spread.png"} <= {path.name for path in drawn}
    assert all(path.is_file() for path in drawn)


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


def test_an_ant_that_has_a_goal_observes_where_it_is():
    env = AntGoal().make_env(Task({"goal": [1.0, 0.0]}))
    env.reset(seed=0)
    observation, *_ = env.step(np.ones(8, np.float32))
    assert np.array_equal(observation[:2], env.unwrapped.data.qpos[:2])


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
import pearl, pearl.tasks.families.mujoco as families
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
    assert_says_nothing(PLAY, tmp_path)


def test_without_mujoco_the_families_are_listed_and_building_one_says_what_to_install(tmp_path):
    assert_names_what_to_install(
        "import sys; sys.modules['mujoco'] = None\n"
        "import pearl.tasks.families.mujoco as families\n"
        "print(families.CheetahVel.name)\n"
        "families.CheetahVel().make_env(families.Task({'velocity': 1.0}))",
        tmp_path,
        printed="cheetah-vel",
        extra="mujoco",
    )


@can_render
def test_an_environment_renders_frames(tmp_path):
    assert_renders(
        "import pearl.tasks.families.mujoco as families\n"
        "env = families.CheetahVel().make_env(families.Task({'velocity': 1.0}), render_mode='rgb_array')",
        tmp_path,
        shows="frame.std() > 0",
    )


@every_family
def test_the_family_passes_its_examination(family):
    check_task_distribution(family(), n_tasks=2)


def test_a_result_names_the_simulators_version():
    plain = perturbed("CartPole-v1", {"length": Uniform(0.25, 1.0)})
    perturbed_robot = perturbed("Hopper-v5", {"model.body_mass": Scale(Uniform(0.5, 2.0))})
    for family in (make("cheetah-vel"), perturbed_robot, mirrored(perturbed_robot)):
        assert versions(family.simulators)["mujoco"] == importlib.metadata.version("mujoco")
    assert "mujoco" not in versions(plain.simulators)
