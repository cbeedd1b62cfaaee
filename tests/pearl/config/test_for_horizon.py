"""Settings that follow from the length of the episodes."""

import pytest

from pearl import PEARLConfig
from pearl.config.reading import from_mapping
from pearl.config.run import RL2Config


@pytest.mark.parametrize(
    ("horizon", "discount", "longest"), [(10, 0.9, 20), (100, 0.95, 200), (200, 0.975, 400), (1_000, 0.99, 400)]
)
def test_what_is_not_set_follows_from_the_episodes_length(horizon, discount, longest):
    config = PEARLConfig().for_horizon(horizon)
    assert config.agent.discount == pytest.approx(discount)
    assert config.training.context.max_length == longest
    assert config.for_horizon(7) == config


@pytest.mark.parametrize(
    ("total_steps", "episodes", "horizon", "n_tasks"),
    [(100_000, 2, 200, 100), (100_000, 2, 50, 400), (100_000, 4, 50, 200), (1_000_000, 2, 20, 1_000), (60, 2, 20, 100)],
)
def test_every_training_task_is_played_in_2_5_trials_where_that_is_100_to_1000_tasks(
    total_steps, episodes, horizon, n_tasks
):
    training = {"total_steps": total_steps, "episodes_per_trial": episodes}
    for kind in (PEARLConfig, RL2Config):
        config = from_mapping(kind, {"training": training})
        assert config.training.n_train_tasks is None
        assert config.for_horizon(horizon).training.n_train_tasks == n_tasks


def test_what_is_set_does_not_follow_from_the_episodes_length():
    training = {"context": {"max_length": 3}, "n_train_tasks": 7}
    config = from_mapping(PEARLConfig, {"agent": {"discount": 0.5}, "training": training})
    assert config.for_horizon(1_000) == config
