"""The point robots' steps and resets: geometry by hand, the batch against single environments."""

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from pearl.tasks.families.point_robot import PointRobot
from pearl.tasks.families.point_robot_env import PointRobotEnv, PointRobotVectorEnv
from tests.support.tasks.point_robots import FAMILIES, actions_of, step_together_and_alone, task_at


def test_the_robot_moves_a_tenth_of_its_action_and_pays_the_distance_from_where_it_arrives():
    env = PointRobotEnv((0.3, 0.4), sparse=True)
    env.reset()
    observation, reward, terminated, truncated, info = env.step(actions_of(0.0, 0.0))
    assert observation.tolist() == [0.0, 0.0]
    assert info["training_reward"] == pytest.approx(-0.5)
    assert (reward, terminated, truncated) == (0.0, False, False)

    observation, reward, _, _, info = env.step(actions_of(1.0, -0.5))
    assert observation == pytest.approx([0.1, -0.05])
    assert info["training_reward"] == pytest.approx(-math.hypot(0.2, 0.45))


def test_a_dense_robot_is_rewarded_with_minus_the_distance_from_its_new_position():
    env = PointRobotEnv((0.3, -0.4))
    start, _ = env.reset(seed=5)
    observation, reward, _, _, info = env.step(actions_of(0.5, 1.0))
    x, y = start[0] + 0.05, start[1] + 0.1
    assert observation == pytest.approx([x, y])
    assert reward == pytest.approx(-math.hypot(x - 0.3, y + 0.4))
    assert info == {}


@pytest.mark.parametrize("action", [(3.0, -7.0), (math.inf, -math.inf)])
def test_actions_are_clipped_axis_by_axis(action):
    env = PointRobotEnv(sparse=True)
    env.reset()
    assert env.step(np.array(action))[0] == pytest.approx([0.1, -0.1])


def test_the_sparse_reward_begins_at_the_radius_and_includes_it():
    def reward_at_the_origin(distance):
        env = PointRobotEnv((0.0, distance), sparse=True)
        env.reset()
        return env.step(actions_of(0.0, 0.0))[1]

    assert reward_at_the_origin(0.0) == 1.0
    assert reward_at_the_origin(0.15) == 0.85
    assert reward_at_the_origin(0.2) == 0.8
    assert reward_at_the_origin(math.nextafter(0.2, 1.0)) == 0.0
    assert math.copysign(1.0, reward_at_the_origin(1.2)) == 1.0, "no negative zero"


def test_a_dense_robot_starts_anywhere_in_the_square_and_a_sparse_one_at_the_origin():
    starts, _ = PointRobotVectorEnv(np.zeros((4000, 2))).reset(seed=0)
    assert np.abs(starts).max() <= 1.0
    assert starts.mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.04)
    assert starts.std(axis=0) == pytest.approx([1 / math.sqrt(3)] * 2, abs=0.02)
    assert not PointRobotVectorEnv(np.zeros((9, 2)), sparse=True).reset(seed=0)[0].any()


def test_tasks_and_starts_from_one_seed_are_unrelated():
    """Both are uniform in the square: from one stream, every robot would start at its goal."""
    tasks = PointRobot().sample(500, np.random.default_rng(0))
    envs = PointRobot().make_vec_env(tasks)
    starts, _ = envs.reset(seed=0)
    correlation = np.corrcoef(starts.T, envs.goals.T)[:2, 2:]
    assert np.abs(correlation).max() < 0.15


@pytest.mark.parametrize("family", FAMILIES)
def test_the_batch_equals_single_environments_bit_for_bit(family):
    for infos, of_singles in step_together_and_alone(family(), 0.0):
        expected = [info.get("training_reward") for info in of_singles]
        assert infos.get("training_reward", np.full(5, None)).tolist() == expected


def test_only_a_sparse_robot_reports_a_training_reward():
    goals = np.array([[1.0, 0.0], [0.0, 0.1]])
    dense, sparse = PointRobotVectorEnv(goals), PointRobotVectorEnv(goals, sparse=True)
    dense.reset(seed=0)
    sparse.reset(seed=0)
    assert dense.step(np.zeros((2, 2)))[4] == {}
    _, reward, _, _, infos = sparse.step(np.zeros((2, 2)))
    assert reward.tolist() == [0.0, 0.9]
    assert infos["training_reward"].tolist() == [-1.0, -0.1]
    assert infos["_training_reward"].tolist() == [True, True]
    assert "training_reward" not in PointRobotEnv().reset()[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_episode_is_truncated_after_twenty_steps_and_never_terminates(family):
    tasks = [task_at(0.0, 0.0), task_at(1.0, 0.0)]
    envs, env = family().make_vec_env(tasks), family().make_env(tasks[0])
    envs.reset(seed=0)
    env.reset(seed=0)
    for step in range(1, 21):
        _, _, terminations, truncations, _ = envs.step(np.zeros((2, 2)))
        _, _, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
        assert not terminations.any()
        assert not terminated
        assert truncations.tolist() == [step == 20] * 2
        assert truncated == (step == 20)


def test_the_horizon_is_read_from_the_batch_as_from_one_environment():
    task = task_at(0.0, 1.0)
    for family in FAMILIES:
        assert family().make_env(task).spec.max_episode_steps == 20
        assert family().make_vec_env([task]).spec.max_episode_steps == 20


def test_a_masked_robot_resets_alone_and_counts_its_own_steps():
    envs = PointRobotVectorEnv(np.zeros((3, 2)))
    envs.reset(seed=0)
    for _ in range(15):
        before, *_ = envs.step(actions_of([0.1, 0.0], [0.2, 0.0], [0.3, 0.0]))
    options = {"reset_mask": np.array([False, True, False])}
    after, infos = envs.reset(options=options)
    assert (after != before).any(axis=1).tolist() == [False, True, False]
    assert infos == {}
    assert list(options) == ["reset_mask"], "the caller's dictionary is the caller's"

    for _ in range(5):
        _, _, _, truncations, _ = envs.step(np.zeros((3, 2)))
    assert truncations.tolist() == [True, False, True]
    envs.reset(options={"reset_mask": truncations})
    for _ in range(15):
        _, _, _, truncations, _ = envs.step(np.zeros((3, 2)))
    assert truncations.tolist() == [False, True, False]


def test_stepping_a_robot_whose_episode_ended_is_an_error_that_names_it():
    envs = PointRobotVectorEnv(np.zeros((3, 2)))
    with pytest.raises(ResetNeeded, match=r"Environments \[0, 1, 2\]"):
        envs.step(np.zeros((3, 2)))
    envs.reset(seed=0)
    for _ in range(20):
        envs.step(np.zeros((3, 2)))
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(ResetNeeded, match=r"Environments \[1, 2\]"):
        envs.step(np.zeros((3, 2)))
    envs.reset(options={"reset_mask": np.array([False, True, True])})
    envs.step(np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False], TypeError),
        (np.array([1, 0]), TypeError),
        (np.array([True]), ValueError),
        (np.array([False, False]), ValueError),
    ],
)
def test_a_reset_mask_that_cannot_be_meant_is_an_error(mask, error):
    with pytest.raises(error, match="reset_mask"):
        PointRobotVectorEnv(np.zeros((2, 2))).reset(options={"reset_mask": mask})


def test_the_same_seed_gives_the_same_starts_and_the_stream_goes_on_without_one():
    envs, twins = PointRobotVectorEnv(np.zeros((4, 2))), PointRobotVectorEnv(np.zeros((4, 2)))
    first, second = envs.reset(seed=3)[0], envs.reset()[0]
    assert np.array_equal(twins.reset(seed=3)[0], first)
    assert np.array_equal(twins.reset()[0], second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(twins.reset(seed=4)[0], first)
    assert len(np.unique(first)) == 8


def test_a_list_of_seeds_seeds_each_robot_that_resets():
    envs = PointRobotVectorEnv(np.zeros((3, 2)))
    first, _ = envs.reset(seed=[1, 2, 1])
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])
    again, _ = envs.reset(seed=[2, 1, None], options={"reset_mask": np.array([True, False, True])})
    assert np.array_equal(again[0], first[1]), "seeded with 2"
    assert np.array_equal(again[1], first[1]), "not reset"
    assert not np.array_equal(again[2], first[2]), "goes on where its own stream was"
    with pytest.raises(ValueError, match="one for each of 3 robots, got 2"):
        envs.reset(seed=[1, 2])


def test_returned_arrays_are_never_written_to_again():
    envs = PointRobotVectorEnv(np.zeros((2, 2)), sparse=True)
    kept = [envs.reset(seed=0)[0]]
    for _ in range(3):
        observation, reward, terminations, truncations, infos = envs.step(np.ones((2, 2)))
        kept += [observation, reward, terminations, truncations, *infos.values()]
    copies = [array.copy() for array in kept]
    for array in (observation, reward, terminations, truncations, *infos.values()):
        array[:] = 1
    copies[-6:] = [array.copy() for array in kept[-6:]]
    following, *_ = envs.step(np.zeros((2, 2)))
    envs.reset()
    assert following == pytest.approx(np.full((2, 2), 0.3)), "nor does writing to them move a robot"
    assert all(np.array_equal(array, copied) for array, copied in zip(kept, copies, strict=True))


def test_the_types_of_a_batch_are_gymnasiums():
    envs = PointRobotVectorEnv(np.zeros((2, 2)), sparse=True)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    observation, reward, terminations, truncations, infos = envs.step(envs.action_space.sample())
    assert observation in envs.observation_space
    assert [array.dtype for array in (observation, reward, terminations, truncations)] == [
        np.float32,
        np.float64,
        np.bool_,
        np.bool_,
    ]
    assert infos["training_reward"].dtype == np.float64


def test_a_nan_in_an_action_is_an_error_and_moves_nobody():
    envs, env = PointRobotVectorEnv(np.ones((2, 2))), PointRobotEnv(sparse=True)
    before, _ = envs.reset(seed=0)
    env.reset()
    with pytest.raises(ValueError, match="An action holds NaN"):
        envs.step(actions_of([0.0, 0.0], [math.nan, 0.0]))
    with pytest.raises(ValueError, match="An action holds NaN"):
        env.step(actions_of(0.0, math.nan))
    assert np.array_equal(envs.step(np.zeros((2, 2)))[0], before)
    assert env.step(np.zeros(2))[0].tolist() == [0.0, 0.0]


def test_actions_and_goals_of_a_wrong_shape_are_errors_that_say_what_fits():
    envs = PointRobotVectorEnv(np.ones((3, 2)))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"must have the shape \(3, 2\), got \(2,\)"):
        envs.step(np.zeros(2))
    with pytest.raises(ValueError, match="two finite numbers"):
        PointRobotVectorEnv([0.0, 1.0])
    with pytest.raises(ValueError, match="two finite numbers"):
        PointRobotEnv((0.0, math.nan))
    with pytest.raises(ValueError, match="1 tasks and 2 rows"):
        PointRobot().oracle_action([task_at(0.0, 0.0)], np.zeros((2, 2), np.float32))


@pytest.mark.parametrize("name", ["pearl/PointRobot-v0", "pearl/SparsePointRobot-v0"])
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_checker_finds_nothing_wrong(name, render_mode):
    env = gym.make(name, goal=(0.6, 0.8), render_mode=render_mode)
    assert env.spec.max_episode_steps == 20
    assert env.unwrapped.sparse == ("Sparse" in name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=render_mode is None)
    messages = [str(warning.message) for warning in caught]
    # The plane has no end, and the checker remarks on every observation space that says so.
    assert [message for message in messages if "observation space m" not in message] == []
