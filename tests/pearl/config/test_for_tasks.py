"""Settings that follow from the tasks."""

import pytest

import pearl
from pearl import PEARLConfig
from pearl.config.reading import from_mapping
from pearl.config.run import MultitaskSACConfig, RL2Config
from tests.support.small import Counting


@pytest.mark.parametrize(
    ("horizon", "discount", "longest"), [(10, 0.9, 20), (100, 0.95, 200), (200, 0.975, 400), (1_000, 0.99, 400)]
)
def test_what_is_not_set_follows_from_the_episodes_length(horizon, discount, longest):
    config = PEARLConfig().for_tasks(horizon)
    assert config.agent.discount == pytest.approx(discount)
    assert config.training.context.max_length == longest
    assert config.for_tasks(7) == config


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
        assert config.for_tasks(horizon).training.n_train_tasks == n_tasks


def test_what_is_set_does_not_follow_from_the_tasks():
    training = {"context": {"max_length": 3}, "n_train_tasks": 7}
    agent = {"discount": 0.5, "auxiliary": {"task_inference_weight": 0.0}}
    config = from_mapping(PEARLConfig, {"agent": agent, "training": training})
    assert config.for_tasks(1_000) == config


def test_task_inference_is_on_where_a_task_stays_as_it_is_and_z_is_inferred():
    def weight(config, **tasks):
        return config.for_tasks(20, **tasks).agent.auxiliary.task_inference_weight

    assert PEARLConfig().agent.auxiliary.task_inference_weight is None
    assert weight(PEARLConfig()) == 1.0
    assert weight(PEARLConfig(), drifting=True) == 0.0
    assert weight(MultitaskSACConfig()) == 0.0
    assert weight(from_mapping(PEARLConfig, {"agent": {"reward_scale": 1.0}})) == 0.0
    assert weight(from_mapping(PEARLConfig, {"agent": {"auxiliary": {"task_inference_weight": 0.5}}})) == 0.5


def test_a_model_fills_in_task_inference_by_its_own_tasks():
    drifting = pearl.drifting(Counting(), pearl.DriftSchedule(2))
    for family, weight in ((Counting(), 1.0), (drifting, 0.0), (pearl.mirrored(drifting), 0.0)):
        model = pearl.PEARL(family, from_mapping(PEARLConfig, {"training": {"n_train_tasks": 3}}))
        assert model.config.agent.auxiliary.task_inference_weight == weight
        assert (model.agent.task_decoder.network is None) == (weight == 0.0)
