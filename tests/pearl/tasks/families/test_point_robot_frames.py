"""Frames of the point robots: what a picture shows, and where."""

import numpy as np
import pytest

from pearl.tasks.families.point_robot_env import PointRobotEnv, PointRobotVectorEnv
from tests.support.tasks.point_robots import FAMILIES, actions_of, task_at


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frame_shows_where_the_robot_has_moved(family):
    env = family().make_env(task_at(0.6, 0.8), render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(actions_of(1.0, 1.0))
    after = env.render()
    assert before.shape == (256, 256, 3)
    assert before.dtype == np.uint8
    changed = (before != after).any(axis=-1)
    assert 50 < changed.sum() < 1500, "the robot and its path, and nothing else"
    assert np.array_equal(env.render(), after), "drawing changes nothing"


def test_a_frame_puts_the_goal_where_it_is():
    env = PointRobotEnv((-1.0, 0.5), render_mode="rgb_array")
    env.reset(seed=0)
    red = np.argwhere((env.render().astype(int) @ [1, -1, 0]) > 100)
    row, column = red.mean(axis=0)
    assert column == pytest.approx(256 * 0.5 / 3, abs=2)
    assert row == pytest.approx(256 * 1.0 / 3, abs=2)


def test_a_sparse_frame_shows_the_radius_of_the_goal_and_a_dense_one_does_not():
    goal, frames = (0.0, 1.0), []
    for sparse in (True, False):
        env = PointRobotEnv(goal, sparse=sparse, render_mode="rgb_array")
        env.reset(seed=0)
        frames.append(env.render()[round((1.5 - 1.15) * 256 / 3), 128].tolist())
    assert frames[0] != frames[1]


def test_a_batch_draws_one_frame_a_robot_as_single_environments_do():
    goals, env = [[0.6, 0.8], [-1.0, 0.0]], PointRobotEnv((-1.0, 0.0), sparse=True, render_mode="rgb_array")
    envs = PointRobotVectorEnv(goals, sparse=True, render_mode="rgb_array")
    env.reset()
    envs.reset(seed=0)
    for _ in range(4):
        env.step(actions_of(-1.0, 0.5))
        envs.step(actions_of([1.0, 1.0], [-1.0, 0.5]))
    frames = envs.render()
    assert isinstance(frames, tuple)
    assert len(frames) == 2
    assert np.array_equal(frames[1], env.render())
    assert not np.array_equal(frames[0], frames[1])

    envs.reset(options={"reset_mask": np.array([False, True])})
    env.reset()
    assert np.array_equal(envs.render()[0], frames[0])
    assert np.array_equal(envs.render()[1], env.render())


def test_a_robot_far_away_is_drawn_at_the_edge():
    env = PointRobotEnv((0.0, 0.0), sparse=True, render_mode="rgb_array")
    env.reset()
    for _ in range(18):
        env.step(actions_of(1.0, 0.0))
    assert env.render()[128, 252].tolist() == [31, 90, 150]


def test_rendering_without_a_render_mode_warns_and_gives_nothing():
    for env in (PointRobotEnv(), PointRobotVectorEnv(np.zeros((1, 2)))):
        with pytest.warns(UserWarning, match='render_mode="rgb_array"'):
            assert env.render() is None
