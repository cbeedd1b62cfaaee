import re
from dataclasses import fields
from typing import Any

import pytest
import torch

from agents import AuxiliaryConfig, ExplorationConfig, ObservationsConfig, PEARLAgentConfig
from agents.learning.value_scale import FixedScale, RunningScale
from agents.networks.actor_critic import CategoricalCritics
from agents.networks.value_bins import N_BINS
from encoders import ConfigError, Settings
from tests.support.agent_tester import pearl_agent, scalar_agent

WEIGHTS = [field.name for field in fields(AuxiliaryConfig) if field.name.endswith("_weight")]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("n_critics", [0, -1], r"agent\.n_critics must be at least 1, got "),
        ("hidden_sizes", [(), (0,), (16, -1)], r"agent\.hidden_sizes must be one or more positive widths, got "),
        ("precision", ["float16", "bf16", ""], r"agent\.precision must be one of 'float32', 'bfloat16', got "),
        ("learning_rate", [0.0, -1e-3], r"agent\.learning_rate must be positive, got "),
        ("final_learning_rate", [-1e-9], r"agent\.final_learning_rate must not be negative, got "),
        ("reward_scale", [0.0, -5.0], r"agent\.reward_scale must be positive, got "),
        ("initial_temperature", [0.0, -0.1], r"agent\.initial_temperature must be positive, got "),
        ("discount", [-0.1, 1.0], r"agent\.discount must lie in \[0, 1\), got "),
        ("target_update_rate", [0.0, 1.1], r"agent\.target_update_rate must lie in \(0, 1\], got "),
        ("temperature", [-0.1], r"agent\.temperature must not be negative, got "),
        ("kl_weight", [-0.1], r"agent\.kl_weight must not be negative, got "),
    ],
)
def test_an_impossible_setting_is_refused_by_name(name: str, values: list[Any], message: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=message):
            PEARLAgentConfig(**{name: value})


@pytest.mark.parametrize(
    ("section", "name", "values", "message"),
    [
        (ObservationsConfig, "image_channels", [(), (0,), (16, -1)], "must be one or more positive numbers, got "),
        (ObservationsConfig, "image_features", [0, -1], "must be at least 1, got "),
        (ExplorationConfig, "sweep", [-0.1, 1.1], r"must lie in \[0, 1\], got "),
        (
            AuxiliaryConfig,
            "reconstructed",
            [(), ("reward", "reward")],
            "must be reward, next_observation or both, got ",
        ),
        (AuxiliaryConfig, "reconstructed", ["reward"], "must be a list, got "),
        *((AuxiliaryConfig, name, [-0.1], "must not be negative, got ") for name in WEIGHTS),
    ],
)
def test_an_impossible_setting_of_a_nested_section_is_refused_by_its_full_name(
    section: type[Settings], name: str, values: list[Any], message: str
) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{re.escape(section.section)}\.{name} {message}"):
            section(**{name: value})


def test_a_wrong_part_of_a_transition_to_reconstruct_is_refused_by_its_place() -> None:
    wanted = r"^agent\.auxiliary\.reconstructed\[0\] must be one of 'reward', 'next_observation', got "
    with pytest.raises(ConfigError, match=wanted):
        AuxiliaryConfig(reconstructed=("nonsense",))


def test_settings_at_the_edge_of_what_is_possible_are_accepted() -> None:
    PEARLAgentConfig(
        discount=0.0,
        target_update_rate=1.0,
        temperature=0.0,
        kl_weight=0.0,
        final_learning_rate=0.0,
        exploration=ExplorationConfig(sweep=1.0),
    )


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        PEARLAgentConfig().discount = 0.5


def test_the_networks_have_the_sizes_told() -> None:
    agent = pearl_agent(n_critics=5, hidden_sizes=(11, 13))
    for made, outputs in ((agent, N_BINS), (scalar_agent(n_critics=5, hidden_sizes=(11, 13)), 1)):
        assert [weight.shape for weight in made.critics.weights] == [(5, 8, 11), (5, 11, 13), (5, 13, outputs)]
    assert [layer.out_features for layer in agent.actor.network if hasattr(layer, "out_features")] == [11, 13, 4]


def test_the_critics_alone_normalise_their_layers_where_told() -> None:
    plain, normalised = scalar_agent(critic_layer_norm=False), scalar_agent(critic_layer_norm=True)
    for agent, expected in ((plain, False), (normalised, True)):
        assert [each.layer_norm for each in (agent.critics, agent.target_critics)] == [expected, expected]
    observation, action, z = torch.randn(2, 4, 3), torch.randn(2, 4, 2), torch.randn(2, 4, 3)
    assert not torch.allclose(plain.critics(observation, action, z), normalised.critics(observation, action, z))
    assert torch.equal(plain.actor(observation, z).mean, normalised.actor(observation, z).mean)


def test_without_a_reward_scale_an_agent_learns_in_running_units_and_with_one_in_scalars() -> None:
    running, scalar = pearl_agent(), scalar_agent(reward_scale=2.0)
    assert (running.config.reward_scale, scalar.config.reward_scale) == (None, 2.0)
    assert isinstance(running.value_scale, RunningScale)
    assert isinstance(scalar.value_scale, FixedScale)
    assert running.units is not None
    assert scalar.units is None
    assert isinstance(running.critics, CategoricalCritics)
    assert not isinstance(scalar.critics, CategoricalCritics)


def test_the_discount_is_that_told_or_99_hundredths() -> None:
    assert pearl_agent(discount=0.5).discount == 0.5
    assert pearl_agent().discount == 0.99


def test_the_defaults_are_those_that_the_study_of_settings_found() -> None:
    config = PEARLAgentConfig()
    assert (config.observations.normalise, config.critic_layer_norm, config.reward_scale) == (True, True, None)
    assert (config.learning_rate, config.final_learning_rate, config.discount) == (1e-3, 1e-4, None)
    assert (config.target_update_rate, config.initial_temperature, config.kl_weight) == (0.02, 0.01, 0.003)
    assert config.hidden_sizes == (128, 128)


@pytest.mark.parametrize(
    "name", ["learning_rate", "reward_scale", "temperature", "kl_weight", "discount", "target_update_rate"]
)
def test_a_setting_that_is_not_finite_is_refused_by_name(name: str) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"agent\.{name} must be a finite number, got"):
            PEARLAgentConfig(**{name: value})


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_that_is_not_finite_is_refused_by_name(name: str) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"agent\.auxiliary\.{name} must be a finite number, got"):
            AuxiliaryConfig(**{name: value})


def test_a_sweep_that_is_not_finite_is_refused_by_name() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"agent\.exploration\.sweep must be a finite number, got"):
            ExplorationConfig(sweep=value)
