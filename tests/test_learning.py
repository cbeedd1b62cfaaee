"""Meta-training reaches its published results: one seed of each family, from scratch (minutes)."""

import pytest

import pearl

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def test_the_point_robot_reaches_its_published_score():
    model = pearl.PEARL("point-robot", seed=0).learn()
    evaluation = model.evaluate()
    assert model.num_timesteps <= 150_000
    assert evaluation.score >= 0.90
    assert model.wall_s <= 180


def test_the_sparse_point_robot_finds_its_goals():
    model = pearl.PEARL("sparse-point-robot", seed=0).learn()
    evaluation = model.evaluate()
    assert evaluation.return_per_episode[-1] >= 10.0
    assert model.wall_s <= 1800


def test_the_varying_cartpole_balances_with_discrete_actions():
    model = pearl.PEARL("varying-cartpole", seed=0).learn()
    assert model.evaluate().return_per_episode[-1] >= 450


def test_the_varying_pendulum_swings_up_whatever_the_torques_sign():
    model = pearl.PEARL("varying-pendulum", seed=0).learn()
    returns = [model.evaluate(seed=seed).return_per_episode[-1] for seed in range(5)]
    assert sum(returns) / len(returns) >= -180
