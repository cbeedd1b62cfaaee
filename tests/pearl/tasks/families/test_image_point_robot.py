"""The point robot in pictures: pixels by hand, positions found in them again, the batch against single environments."""

import copy
import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_for_stable_baselines3

from pearl.tasks.families.image_point_robot import ImagePointRobot
from pearl.tasks.families.image_point_robot_env import (
    ImagePointRobotEnv,
    ImagePointRobotVectorEnv,
    draw_pictures,
    locate,
)
from pearl.tasks.families.point_robot import PointRobot
from pearl.tasks.families.point_robot_env import PointRobotEnv
from pearl.tasks.registry import families, make
from tests.support.tasks.point_robots import step_together_and_alone, task_at

ROBOT = (31, 90, 150)
PAPER = (250, 250, 247)
inside = st.floats(-1.375, 1.375, width=32)


def picture_at(x, y):
    return draw_pictures(np.array([[x, y]], np.float32))[0]


def drive(env, action, steps):
    for _ in range(steps):
        observation, reward, *_ = env.step(np.array(action, np.float32))
    return observation, reward


def test_observations_are_pictures_and_actions_are_the_point_robots():
    env, envs = ImagePointRobotEnv(), ImagePointRobotVectorEnv(np.zeros((3, 2)))
    assert env.observation_space == envs.single_observation_space == gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    assert env.action_space == envs.single_action_space == PointRobotEnv().action_space
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    for observation in (envs.reset(seed=0)[0], envs.step(envs.action_space.sample())[0]):
        assert observation in envs.observation_space
    for observation in (env.reset(seed=0)[0], env.step(env.action_space.sample())[0]):
        assert observation in env.observation_space


def test_the_disc_is_twenty_pixels_a_unit_from_the_centre_with_y_upwards():
    """At (0.25, 0.75) its centre is 5 pixels right of the middle and 15 above: column 37, row 17, radius 3."""
    picture = picture_at(0.25, 0.75)
    for row, column in [(16, 36), (17, 37), (15, 38), (17, 35)]:
        assert tuple(picture[row, column]) == ROBOT
    assert tuple(picture[47, 37]) == PAPER, "mirrored"
    assert tuple(picture[36, 17]) == PAPER, "axes exchanged"
    assert tuple(picture[12, 37]) != ROBOT
    assert (picture != picture_at(-0.75, -0.75)).any(axis=2)[14:20, 34:40].sum() == 32, "all but the square's corners"


def test_a_pixel_on_the_rim_mixes_robot_and_floor():
    """From a centre at column 37.5, pixel 40 is 3.0 away, half covered; at column 37.3 it is 3.2 away, covered 0.3."""
    for x, covered in ((0.275, 0.5), (0.265, 0.3)):
        pixel = picture_at(x, 0.725)[17, 40]
        assert pixel == pytest.approx(np.array(PAPER) + covered * (np.array(ROBOT) - PAPER), abs=0.51)


@settings(max_examples=100)
@given(inside, inside, st.sampled_from([(0.001, 0.0), (0.0, -0.001)]))
def test_a_fiftieth_of_a_pixel_can_be_seen(x, y, step):
    assert (picture_at(x, y) != picture_at(x + step[0], y + step[1])).any()


@settings(max_examples=100)
@given(st.lists(st.tuples(inside, inside), min_size=1, max_size=5))
def test_positions_are_found_to_a_fortieth_of_a_pixel(positions):
    positions = np.array(positions, np.float32)
    pictures = draw_pictures(positions)
    found = locate(pictures)
    assert found.dtype == np.float32
    assert found == pytest.approx(positions, abs=0.05 / 40)
    assert np.array_equal(locate(pictures.reshape(len(positions), -1)), found)
    assert np.array_equal(locate(pictures.astype(np.float32)), found)


def test_starts_are_drawn_from_the_environments_own_generator():
    for env, size in ((ImagePointRobotEnv(), 1), (ImagePointRobotVectorEnv(np.zeros((3, 2))), 3)):
        env.reset(seed=0)
        starts = copy.deepcopy(env.np_random).uniform(-1, 1, (size, 2)).astype(np.float32)
        assert np.array_equal(env.reset()[0].reshape(size, 64, 64, 3), draw_pictures(starts))


def test_what_is_no_picture_of_one_robot_is_an_error_that_says_what_fits():
    picture = picture_at(0.5, 0.5)
    empty = np.where((picture == ROBOT).all(axis=2, keepdims=True), picture_at(-0.5, -0.5), picture)
    two = np.minimum(picture, picture_at(-0.5, -0.5))
    for wrong in (empty, two, picture / 255):
        with pytest.raises(ValueError, match="values from 0 to 255"):
            locate(wrong[None])
    for wrong in (picture, np.zeros((1, 3, 64, 64)), np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"\(task, 64, 64, 3\) or \(task, 12288\), got"):
            locate(wrong)


@pytest.mark.parametrize("corner", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_walls_keep_the_whole_robot_in_the_picture_and_the_reward_is_paid_from_there(corner):
    env = ImagePointRobotEnv((0.2, 0.0))
    env.reset(seed=0)
    observation, reward = drive(env, corner, 40)
    assert np.array_equal(observation, picture_at(1.4 * corner[0], 1.4 * corner[1]))
    assert reward == pytest.approx(-math.hypot(1.4 * corner[0] - 0.2, 1.4))
    assert locate(observation[None])[0] == pytest.approx(1.4 * np.array(corner), abs=0.00125)


def test_a_wall_stops_one_axis_and_lets_go():
    env = ImagePointRobotEnv((0.0, 0.0))
    before = locate(env.reset(seed=0)[0][None])[0]
    drive(env, (1.0, 0.0), 40)
    observation, _ = drive(env, (1.0, 0.5), 1)
    assert locate(observation[None])[0] == pytest.approx([1.4, before[1] + 0.05], abs=0.003)
    observation, _ = drive(env, (-1.0, 0.0), 1)
    assert locate(observation[None])[0] == pytest.approx([1.3, before[1] + 0.05], abs=0.003)


def test_an_action_moves_the_disc_by_two_pixels_and_pays_minus_the_distance():
    env, plain = ImagePointRobotEnv((0.3, -0.4)), PointRobotEnv((0.3, -0.4))
    observation, _ = env.reset(seed=5)
    start, _ = plain.reset(seed=5)
    assert np.array_equal(observation, draw_pictures(start[None])[0]), "the point robot's start"
    observation, reward, terminated, truncated, info = env.step(np.array([1.0, -0.5], np.float32))
    x, y = start[0] + 0.1, start[1] - 0.05
    assert locate(observation[None])[0] == pytest.approx([x, y], abs=0.00125)
    assert reward == pytest.approx(-math.hypot(x - 0.3, y + 0.4))
    assert (terminated, truncated, info) == (False, False, {})


def test_the_goal_is_not_in_the_picture():
    tasks = [task_at(0.5, 0.5), task_at(-0.5, 0.5), task_at(0.9, -1.0)]
    envs = ImagePointRobot().make_vec_env(tasks)
    observation, _ = envs.reset(seed=[4, 4, 4])
    for _ in range(20):
        assert (observation == observation[0]).all()
        observation, reward, *_ = envs.step(np.full((3, 2), 0.3, np.float32))
        assert len(set(reward.tolist())) == 3


def test_the_batch_equals_single_environments_bit_for_bit():
    assert [infos for infos, _ in step_together_and_alone(ImagePointRobot(), 1.0)] == [{}] * 42


def test_a_masked_robot_resets_alone():
    envs = ImagePointRobotVectorEnv(np.zeros((3, 2)))
    envs.reset(seed=0)
    before, *_ = envs.step(np.ones((3, 2)))
    after, _ = envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert (after != before).any(axis=(1, 2, 3)).tolist() == [False, True, False]


def test_returned_pictures_are_never_written_to_again():
    envs = ImagePointRobotVectorEnv(np.zeros((2, 2)))
    first, _ = envs.reset(seed=0)
    copied = first.copy()
    second, *_ = envs.step(np.ones((2, 2)))
    assert np.array_equal(first, copied)
    second[:] = 0
    third, *_ = envs.step(np.zeros((2, 2)))
    assert locate(third) == pytest.approx(locate(first) + 0.1, abs=0.0025), "nor does writing to them move a robot"


def test_an_episode_is_truncated_after_twenty_steps_and_never_terminates():
    task = task_at(0.0, 0.0)
    envs, env = ImagePointRobot().make_vec_env([task]), ImagePointRobot().make_env(task)
    assert envs.spec.max_episode_steps == env.spec.max_episode_steps == 20
    envs.reset(seed=0)
    env.reset(seed=0)
    for step in range(1, 21):
        _, _, terminations, truncations, _ = envs.step(np.zeros((1, 2)))
        _, _, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
        assert terminations.tolist() == [terminated] == [False]
        assert truncations.tolist() == [truncated] == [step == 20]
    with pytest.raises(ResetNeeded, match=r"Environments \[0\]"):
        envs.step(np.zeros((1, 2)))


def test_the_same_seed_gives_the_point_robots_tasks_and_starts():
    tasks = ImagePointRobot().sample(6, np.random.default_rng(7))
    assert tasks == ImagePointRobot().sample(6, np.random.default_rng(7))
    assert tasks == PointRobot().sample(6, np.random.default_rng(7))
    assert tasks != ImagePointRobot().sample(6, np.random.default_rng(8))
    envs, twins = ImagePointRobot().make_vec_env(tasks), PointRobot().make_vec_env(tasks)
    assert np.array_equal(envs.reset(seed=3)[0], draw_pictures(twins.reset(seed=3)[0]))
    assert np.array_equal(envs.reset()[0], draw_pictures(twins.reset()[0])), "the stream goes on without a seed"


@pytest.mark.parametrize("flattened", [False, True])
def test_the_oracle_reaches_every_goal_and_its_return_is_the_point_robots(flattened):
    tasks = ImagePointRobot().sample(50, np.random.default_rng(0))
    envs, twins = ImagePointRobot().make_vec_env(tasks), PointRobot().make_vec_env(tasks)
    observation, positions = envs.reset(seed=0)[0], twins.reset(seed=0)[0]
    total, best = np.zeros(50), np.zeros(50)
    for _ in range(20):
        shown = observation.reshape(50, -1) if flattened else observation
        observation, reward, *_ = envs.step(ImagePointRobot().oracle_action(tasks, shown))
        positions, best_reward, *_ = twins.step(PointRobot().oracle_action(tasks, positions))
        total += reward
        best += best_reward
    assert reward == pytest.approx(np.zeros(50), abs=0.00125 * math.sqrt(2))
    assert total == pytest.approx(best, abs=20 * 0.00125 * math.sqrt(2))


def test_the_oracle_wants_one_task_a_picture():
    with pytest.raises(ValueError, match="1 tasks and 2 rows"):
        ImagePointRobot().oracle_action([task_at(0.0, 0.0)], draw_pictures(np.zeros((2, 2), np.float32)))


def test_observations_are_no_positions_and_rewards_cannot_be_computed_from_them():
    task, pictures = task_at(0.0, 1.0), np.zeros((1, 4, 12288), np.float32)
    assert ImagePointRobot().plane(task) is None
    assert ImagePointRobot().relabel([task], pictures, np.zeros((1, 4, 2), np.float32), pictures) is None


def test_the_family_is_registered():
    assert type(make("image-point-robot")) is ImagePointRobot
    assert ImagePointRobot.name == "image-point-robot"
    assert "image-point-robot" in families()


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_the_checkers_find_nothing_wrong(render_mode):
    env = gym.make("pearl/ImagePointRobot-v0", goal=(0.6, 0.8), render_mode=render_mode)
    assert isinstance(env.unwrapped, ImagePointRobotEnv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=render_mode is None)
        check_env_for_stable_baselines3(env.unwrapped)


def test_frames_for_people_are_the_point_robots_with_the_goal():
    goals, env = [[0.6, 0.8], [-1.0, 0.0]], PointRobotEnv((-1.0, 0.0), wall=1.4, render_mode="rgb_array")
    single = ImagePointRobot().make_env(task_at(-1.0, 0.0), render_mode="rgb_array")
    envs = ImagePointRobotVectorEnv(goals, render_mode="rgb_array")
    env.reset(seed=2)
    single.reset(seed=2)
    envs.reset(seed=[1, 2])
    for _ in range(4):
        env.step(np.array([-1.0, 0.5]))
        single.step(np.array([-1.0, 0.5], np.float32))
        envs.step(np.array([[1.0, 1.0], [-1.0, 0.5]]))
    assert np.array_equal(single.render(), env.render())
    frames = envs.render()
    assert len(frames) == 2
    assert np.array_equal(frames[1], env.render())
    assert not np.array_equal(frames[0], frames[1])


def test_rendering_without_a_render_mode_warns_and_gives_nothing():
    for env in (ImagePointRobotEnv(), ImagePointRobotVectorEnv(np.zeros((1, 2)))):
        with pytest.warns(UserWarning, match='render_mode="rgb_array"'):
            assert env.render() is None
