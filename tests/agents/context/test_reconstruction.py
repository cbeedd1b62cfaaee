"""The decoder: what it predicts, whom it teaches, and that it is not there without a weight."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents import AuxiliaryConfig, MetaBatch, ObservationsConfig, PEARLAgent, PEARLAgentConfig
from agents.context.decoder import TransitionDecoder
from encoders import EncoderConfig
from tests.support.agent_tester import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    as_context,
    assert_identical,
    generator,
    learn,
    pearl_agent,
    random_batch,
    random_transitions,
    scalar_agent,
    whole_trials,
)
from tests.support.pearl_tester import gradients, updated

BOTH = ("reward", "next_observation")


def image_agent(weight: float, reconstructed: Any) -> PEARLAgent:
    images = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    config = PEARLAgentConfig(
        auxiliary=AuxiliaryConfig(reconstruction_weight=weight, reconstructed=reconstructed),
        observations=ObservationsConfig(image_channels=(4, 4, 4)),
    )
    return PEARLAgent(images, ACTION_SPACE, EncoderConfig(latent_dim=2), config, generator(0))


def decoder(**settings: Any) -> TransitionDecoder:
    config = PEARLAgentConfig(hidden_sizes=(8,), auxiliary=AuxiliaryConfig(reconstruction_weight=1.0, **settings))
    return TransitionDecoder(OBSERVATION_SPACE, 3, 2, 4, config)


def test_who_predicts_nothing_errs_by_the_reward_and_by_the_change() -> None:
    made = decoder(reconstructed=BOTH)
    for network in made.networks.values():
        torch.nn.init.zeros_(network[-1].weight)
        torch.nn.init.zeros_(network[-1].bias)
    s, following = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 4.0, 6.0]]])
    a, z, reward = torch.ones(1, 1, 2), torch.ones(1, 1, 4), torch.tensor([[-5.0]])
    assert made.loss(s, a, following, reward, z).item() == pytest.approx(25.0 + (0.0 + 4.0 + 9.0) / 3.0)


@pytest.mark.parametrize("reconstructed", [("reward",), ("next_observation",), BOTH])
def test_the_loss_is_the_squared_error_of_what_is_predicted(reconstructed: tuple[str, ...]) -> None:
    s, a, following, z = (torch.randn(5, 6, width) for width in (3, 2, 3, 4))
    reward = torch.randn(5, 6)
    made = decoder(reconstructed=reconstructed)
    expected = 0.0
    if "reward" in reconstructed:
        predicted = made.networks["reward"](torch.cat([s, a, z, following], -1)).squeeze(-1)
        expected += (predicted - reward).square().mean().item()
    if "next_observation" in reconstructed:
        change = made.networks["next_observation"](torch.cat([s, a, z], -1))
        expected += (s + change - following).square().mean().item()
    assert made.loss(s, a, following, reward, z).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reconstructed", [("reward",), ("next_observation",), BOTH])
def test_the_decoder_teaches_the_encoder_and_neither_actor_nor_critics(reconstructed: tuple[str, ...]) -> None:
    plain = updated()
    light, heavy = (
        updated(auxiliary={"reconstruction_weight": weight, "reconstructed": reconstructed}) for weight in (0.5, 2.0)
    )
    for part in ("actor", "critics"):
        assert_identical(gradients(light, part), gradients(plain, part))
        assert_identical(gradients(heavy, part), gradients(plain, part))
    without, half, twice = (gradients(agent, "encoder") for agent in (plain, light, heavy))
    for none, some, more in zip(without, half, twice, strict=True):
        assert not torch.equal(some, none)
        torch.testing.assert_close(more - none, 4.0 * (some - none), rtol=1e-3, atol=1e-5)


def test_where_the_critics_are_not_to_teach_the_encoder_the_decoder_and_the_kl_alone_do() -> None:
    """Their part of the encoder's gradient is what is missing; their own gradient stands."""
    both, without = (
        updated(make=scalar_agent, auxiliary={"reconstruction_weight": 1.0, "critics_teach_encoder": teach})
        for teach in (True, False)
    )
    plain = updated(make=scalar_agent, kl_weight=0.0)
    for part in ("actor", "critics"):
        assert_identical(gradients(without, part), gradients(both, part))
    rows = (gradients(agent, "encoder") for agent in (both, without, plain))
    for all_three, decoder_and_kl, critics_alone in zip(*rows, strict=True):
        torch.testing.assert_close(decoder_and_kl, all_three - critics_alone, rtol=1e-3, atol=1e-5)
        assert decoder_and_kl.abs().max() > 0


def test_an_encoder_that_nothing_teaches_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing teaches the encoder"):
        pearl_agent(auxiliary={"critics_teach_encoder": False})


def test_predictions_get_better_with_learning() -> None:
    agent, batch = pearl_agent(auxiliary={"reconstruction_weight": 1.0, "reconstructed": BOTH}), random_batch()
    losses = [float(agent.update(batch, generator(0))["reconstruction_loss"]) for _ in range(200)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_reward_is_scaled_as_for_the_critics() -> None:
    (one,), (other,) = (
        learn(pearl_agent(auxiliary={"reconstruction_weight": 1.0}, reward_scale=scale), 1) for scale in (1.0, 100.0)
    )
    assert float(other["reconstruction_loss"]) > 1000 * float(one["reconstruction_loss"])


def test_in_running_units_the_reward_to_predict_is_over_the_deviation_of_returns() -> None:
    agent = pearl_agent(auxiliary={"reconstruction_weight": 1.0}, discount=0.0)
    trials = whole_trials(1)  # Without discount their returns are their rewards.
    agent.see(trials)
    for parameter in agent.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    batch = random_batch()
    deviation = trials.training_reward[trials.mask].std(correction=0)
    expected = (batch.transitions.reward / deviation).square().mean()
    torch.testing.assert_close(agent.update(batch, generator(0))["reconstruction_loss"], expected)


def test_without_a_weight_there_is_no_decoder() -> None:
    agent = pearl_agent(auxiliary={"reconstructed": BOTH})
    assert not list(agent.decoder.parameters())
    assert "reconstruction_loss" not in learn(agent, 1)[0]


def test_what_an_image_leads_to_is_not_reconstructed() -> None:
    image_agent(0.0, BOTH)
    with pytest.raises(ValueError, match=r"agent\.auxiliary\.reconstructed: the next_observation of an image is not"):
        image_agent(1.0, BOTH)


def test_the_decoder_teaches_the_features_of_images() -> None:
    images = torch.randint(256, (2, 5, 64 * 64 * 3), dtype=torch.uint8, generator=generator(0))
    transitions = random_transitions(2, 5)._replace(observation=images, next_observation=images.flip(1))
    found = []
    for weight in (0.0, 1.0):
        agent = image_agent(weight, ("reward",))
        agent.update(MetaBatch(as_context(transitions), transitions), generator(0))
        found.append(gradients(agent, "features"))
    assert all(not torch.equal(without, taught_) for without, taught_ in zip(*found, strict=True))
