from dataclasses import fields
from typing import Any

import pytest
import torch

from agents import PEARLAgentConfig
from tests.support.agent_tester import pearl_agent

KL_WEIGHTS = [field.name for field in fields(PEARLAgentConfig) if field.name.endswith("kl_weight")]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("n_critics", [0, -1], r"agent\.n_critics must be at least 1, got "),
        ("hidden_sizes", [(), (0,), (16, -1)], r"agent\.hidden_sizes must be one or more positive widths, got "),
        ("image_channels", [(), (0,), (16, -1)], r"agent\.image_channels must be one or more positive numbers, got "),
        ("image_features", [0, -1], r"agent\.image_features must be at least 1, got "),
        ("precision", ["float16", "bf16", ""], r"agent\.precision must be one of 'float32', 'bfloat16', got "),
        ("learning_rate", [0.0, -1e-3], r"agent\.learning_rate must be positive, got "),
        ("final_learning_rate", [-1e-9], r"agent\.final_learning_rate must not be negative, got "),
        ("reward_scale", [0.0, -5.0], r"agent\.reward_scale must be positive, got "),
        ("initial_temperature", [0.0, -0.1], r"agent\.initial_temperature must be positive, got "),
        ("discount", [-0.1, 1.0], r"agent\.discount must lie in \[0, 1\), got "),
        ("target_update_rate", [0.0, 1.1], r"agent\.target_update_rate must lie in \(0, 1\], got "),
        ("temperature", [-0.1], r"agent\.temperature must not be negative, got "),
        ("sweep", [-0.1, 1.1], r"agent\.sweep must lie in \[0, 1\], got "),
        ("reconstruction_weight", [-0.1], r"agent\.reconstruction_weight must not be negative, got "),
        (
            "reconstructed",
            [(), ("reward", "reward")],
            r"agent\.reconstructed must be reward, next_observation or both, got ",
        ),
        (
            "reconstructed",
            [("nonsense",)],
            r"agent\.reconstructed\[0\] must be one of 'reward', 'next_observation', got ",
        ),
        ("reconstructed", ["reward"], r"agent\.reconstructed must be a list, got "),
        *((name, [-0.1], rf"agent\.{name} must not be negative, got ") for name in KL_WEIGHTS),
    ],
)
def test_an_impossible_setting_is_refused_by_name(name: str, values: list[Any], message: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=message):
            PEARLAgentConfig(**{name: value})


def test_settings_at_the_edge_of_what_is_possible_are_accepted() -> None:
    PEARLAgentConfig(
        discount=0.0, target_update_rate=1.0, temperature=0.0, kl_weight=0.0, final_learning_rate=0.0, sweep=1.0
    )


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        PEARLAgentConfig().discount = 0.5  # type: ignore[misc]


def test_the_networks_have_the_sizes_told() -> None:
    agent = pearl_agent(n_critics=5, hidden_sizes=(11, 13))
    assert [weight.shape for weight in agent.critics.weights] == [(5, 8, 11), (5, 11, 13), (5, 13, 1)]
    assert [layer.out_features for layer in agent.actor.network if hasattr(layer, "out_features")] == [11, 13, 4]


def test_the_critics_alone_normalise_their_layers_where_told() -> None:
    plain, normalised = pearl_agent(), pearl_agent(critic_layer_norm=True)
    for agent, expected in ((plain, False), (normalised, True)):
        assert agent.critics.layer_norm is expected
        assert agent.target_critics.layer_norm is expected
    observation, action, z = torch.randn(2, 4, 3), torch.randn(2, 4, 2), torch.randn(2, 4, 3)
    assert not torch.allclose(plain.critics(observation, action, z), normalised.critics(observation, action, z))
    assert torch.equal(plain.actor(observation, z).mean, normalised.actor(observation, z).mean)


@pytest.mark.parametrize("name", ["learning_rate", "reward_scale", "temperature", *KL_WEIGHTS, "reconstruction_weight"])
def test_a_setting_that_is_not_finite_is_refused_by_name(name: str) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"agent\.{name} must be a finite number, got"):
            PEARLAgentConfig(**{name: value})
