"""Settings that follow from the tasks."""

import pytest

import pearl
from pearl import PEARLConfig
from pearl.config.reading import from_mapping
from pearl.config.run import MultitaskSACConfig, RL2Config
from pearl.model import meta_learner
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
    filled = config.for_tasks(1_000)
    assert (filled.agent.discount, filled.agent.auxiliary.task_inference_weight) == (0.5, 0.0)
    assert (filled.training.context.max_length, filled.training.n_train_tasks) == (3, 7)


def test_task_inference_is_on_where_a_task_stays_as_it_is_and_z_is_inferred():
    def weight(config, **tasks):
        return config.for_tasks(20, **tasks).agent.auxiliary.task_inference_weight

    assert PEARLConfig().agent.auxiliary.task_inference_weight is None
    assert weight(PEARLConfig()) == 1.0
    assert weight(PEARLConfig(), drifting=True) == 0.0
    assert weight(PEARLConfig(), rare_rewards=lambda: True) == 0.0
    assert weight(MultitaskSACConfig()) == 0.0
    assert weight(from_mapping(PEARLConfig, {"agent": {"reward_scale": 1.0}})) == 0.0
    assert weight(from_mapping(PEARLConfig, {"agent": {"auxiliary": {"task_inference_weight": 0.5}}})) == 0.5


def test_a_model_fills_in_task_inference_by_its_own_tasks():
    drifting = pearl.drifting(Counting(), pearl.DriftSchedule(2))
    for family, weight in ((Counting(), 1.0), (drifting, 0.0), (pearl.mirrored(drifting), 0.0)):
        model = pearl.PEARL(family, from_mapping(PEARLConfig, {"training": {"n_train_tasks": 3}}))
        assert model.config.agent.auxiliary.task_inference_weight == weight
        assert (model.agent.task_decoder.network is None) == (weight == 0.0)


def searches(config, **tasks):
    """What is filled in for rewards that have to be searched for."""
    filled = config.for_tasks(20, **tasks)
    agent, training = filled.agent, filled.training
    policy = training.initial_policy
    return training.relabelling.candidates, agent.exploration.sweep, agent.auxiliary.early_kl_weight, policy


def test_rewards_that_can_be_computed_and_are_rare_are_searched_for():
    assert searches(PEARLConfig(), rare_rewards=lambda: True) == (512, 0.05, 0.003, "steady")
    assert searches(PEARLConfig(), rare_rewards=lambda: True, continuous=False) == (512, 0.05, 0.003, "random")
    assert searches(PEARLConfig()) == searches(PEARLConfig(), rare_rewards=lambda: False) == (0, 0.0, 0.0, "random")


def test_what_is_set_for_rare_rewards_stays():
    sections = {"agent": {"exploration": {"sweep": 0.5}}, "training": {"initial_policy": "random"}}
    config = from_mapping(PEARLConfig, sections)
    assert searches(config, rare_rewards=lambda: True) == (512, 0.5, 0.003, "random")
    assert searches(config, rare_rewards=lambda: False) == (0, 0.5, 0.0, "random")


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"relabelling": {"candidates": 0}}},
        {"training": {"device": "cuda"}},
        {"agent": {"reward_scale": 1.0}},
        {"encoder": {"kind": "blind"}},
        {
            "agent": {"exploration": {"sweep": 0.0}, "auxiliary": {"early_kl_weight": 0.0}},
            "training": {"initial_policy": "random", "relabelling": {"candidates": 0}},
        },
    ],
)
def test_nothing_is_played_to_know_whether_rewards_are_rare_where_nothing_depends_on_it(sections):
    config = from_mapping(PEARLConfig, sections)
    assert searches(config, rare_rewards=lambda: pytest.fail("played")) == (0, 0.0, 0.0, "random")


@pytest.mark.parametrize(("family", "rare"), [("sparse-point-robot", True), ("point-robot", False)])
def test_a_model_plays_training_tasks_to_know_whether_rewards_are_rare(family, rare):
    model = pearl.PEARL(family, from_mapping(PEARLConfig, {"training": {"n_train_tasks": 12}}))
    found = (512, 0.05, 0.003, "steady") if rare else (0, 0.0, 0.0, "random")
    assert searches(model.config) == found
    assert model.training.env_steps == 0


def test_a_model_that_is_loaded_plays_nothing(monkeypatch, tmp_path):
    settings = {"training": {"n_train_tasks": 12}}
    pearl.PEARL("sparse-point-robot", from_mapping(PEARLConfig, settings)).save(tmp_path, training_state=False)
    monkeypatch.setattr(meta_learner, "rare_and_computable", lambda *_, **__: pytest.fail("played"))
    assert searches(pearl.load(tmp_path).config) == (512, 0.05, 0.003, "steady")
