"""Units of rewards, observations and actions do not matter to the other algorithms either, with default settings."""

from typing import Any

import numpy as np
import pytest

import pearl
from pearl.algorithms import find_algorithm
from pearl.config.reading import from_mapping
from tests.pearl.training.test_units import Units

SETTINGS: dict[str, dict[str, Any]] = {
    "rl2": {"agent": {"hidden_sizes": (8,), "memory_width": 8}},
    "maml": {"agent": {"hidden_sizes": (8,)}},
    "recurrent_sac": {
        "agent": {"hidden_sizes": (8, 8), "memory_width": 8},
        "training": {"gradient_steps_per_env_step": 0.01, "meta_batch": 6},
    },
}


def trained(algorithm: str, distribution: Units) -> pearl.MetaLearner:
    shared = {
        "training": {"n_train_tasks": 6, "tasks_per_iteration": None, "total_steps": 2_000, "episodes_per_trial": 3},
        "evaluation": {"n_test_tasks": 3, "exploration_episodes": 2, "episodes": 3},
    }
    kind = find_algorithm(algorithm).config
    config = from_mapping(kind, SETTINGS[algorithm], from_mapping(kind, shared))
    return pearl.MetaLearner(distribution, config, seed=0).learn(1_000)


@pytest.fixture(scope="module", params=SETTINGS)
def plain(request: pytest.FixtureRequest) -> pearl.MetaLearner:
    return trained(request.param, Units())


@pytest.mark.parametrize(
    "units", [{"reward": 2.0**10}, {"reward": 2.0**-7, "observation": (2.0**-9, 2.0**5), "action": 2.0**-6}]
)
def test_units_that_are_powers_of_two_change_no_weight(plain: pearl.MetaLearner, units: dict[str, Any]) -> None:
    model = trained(plain.config.algorithm, Units(**units))
    assert model.training.gradient_steps > 0
    for name, weight in plain.agent.named_parameters():
        assert weight.equal(dict(model.agent.named_parameters())[name]), name
    found = np.asarray(model.evaluate().returns)
    np.testing.assert_array_equal(found / units.get("reward", 1.0), np.asarray(plain.evaluate().returns))


def test_a_bonus_in_every_step_changes_rounding_alone(plain: pearl.MetaLearner) -> None:
    model = trained(plain.config.algorithm, Units(bonus=5.0))
    weights = dict(model.agent.named_parameters())
    moved = [(weights[name] - weight).abs().max().item() for name, weight in plain.agent.named_parameters()]
    assert max(moved) < 1e-4
