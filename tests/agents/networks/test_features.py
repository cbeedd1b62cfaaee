"""What networks read of observations: as they are, normalised, or as features of an image."""

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agents import MetaBatch, ObservationsConfig, PEARLAgent, PEARLAgentConfig, Transitions
from agents.losses import critic_loss
from agents.networks.features import CLIP, ImageFeatures, NormalisedFeatures, VectorFeatures, make_features
from encoders import Context, EncoderConfig, kl_to_unit_gaussian
from pearl.config.reading import from_mapping
from tests.support.agent_tester import (
    OBSERVATION_DIM,
    OBSERVATION_SPACE,
    all_of,
    as_context,
    assert_identical,
    at_step,
    generator,
    pearl_agent,
    play,
    random_batch,
    random_transitions,
    scalar_agent,
    state,
    whole_trials,
)

IMAGE_SHAPE = (17, 21, 3)
IMAGES = gym.spaces.Box(0, 255, IMAGE_SHAPE, np.uint8)
PIXELS = 17 * 21 * 3


def seen(*chunks: Tensor) -> NormalisedFeatures:
    features = NormalisedFeatures(chunks[0].shape[1])
    for chunk in chunks:
        features.see(chunk)
    return features


def test_before_anything_is_seen_normalising_changes_nothing() -> None:
    observation = torch.randn(4, 5, 3)
    assert torch.equal(NormalisedFeatures(3)(observation), observation)


@settings(max_examples=50, derandomize=True, database=None)
@given(cuts=st.lists(st.integers(1, 39), max_size=6), seed=st.integers(0, 99), offset=st.sampled_from([0.0, -3.0, 1e4]))
def test_the_running_statistics_are_those_of_all_rows_however_they_are_split(
    cuts: list[int], seed: int, offset: float
) -> None:
    rows = offset + torch.randn(40, 3, generator=generator(seed)) * torch.tensor([0.1, 1.0, 50.0])
    edges = [0, *sorted(set(cuts)), 40]
    features = seen(*(rows[first:last] for first, last in pairwise(edges)))
    assert features.count == 40
    np.testing.assert_allclose(features.mean.numpy(), rows.double().numpy().mean(0), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(features.variance.numpy(), rows.double().numpy().var(0), rtol=1e-7)


def test_normalised_rows_have_mean_0_and_deviation_1() -> None:
    rows = 5.0 + torch.randn(1000, 3, generator=generator(0)) * torch.tensor([0.1, 1.0, 50.0])
    normalised = seen(rows)(rows)
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(3), rtol=1e-3, atol=0)


def test_a_normalised_observation_equals_the_number_worked_out_by_hand() -> None:
    # Mean 2, variance (4 + 0 + 4) / 3 = 8 / 3 of (0, 2, 4).
    found = seen(torch.tensor([[0.0], [2.0], [4.0]]))(torch.tensor([[3.0], [2.0], [-2.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0], [0.0], [-4.0]]) / (8 / 3) ** 0.5)


def test_what_is_far_from_anything_seen_is_clipped() -> None:
    features = seen(torch.tensor([[-1.0], [1.0]]))
    assert features(torch.tensor([[1e6], [-1e6], [9.0]])).flatten().tolist() == pytest.approx([CLIP, -CLIP, 9.0])


def test_a_number_that_never_changed_is_zero_and_finite() -> None:
    features = seen(torch.full((5, 1), 0.7))
    assert features(torch.tensor([[0.7], [0.8], [-1e30]])).flatten().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**30])
def test_a_unit_that_is_a_power_of_two_changes_no_digit_however_small(unit: float) -> None:
    rows = 5.0 + torch.randn(100, 3, generator=generator(0))
    assert torch.equal(seen(unit * rows)(unit * rows), seen(rows)(rows))


def observed(agent: PEARLAgent, rows: Tensor) -> PEARLAgent:
    agent.features.see(rows)
    return agent


ROWS = torch.tensor([3.0, -20.0, 0.5]) + torch.randn(100, 3, generator=generator(7)) * torch.tensor([2.0, 9.0, 0.1])


def test_acting_inferring_and_updating_leave_the_statistics_as_they_are() -> None:
    agent = observed(pearl_agent(observations={"normalise": True}), ROWS)
    before = {name: value for name, value in state(agent).items() if name.startswith("features")}
    assert set(before) == {"features.count", "features.mean", "features.variance"}
    play(agent, agent.begin(2, generator(0)), random_transitions(2, 9))
    agent.infer(random_batch().context)
    agent.update(random_batch(), generator(0))
    assert_identical({name: state(agent)[name] for name in before}, before)


def test_a_normalising_agent_does_what_a_plain_one_does_on_normalised_observations() -> None:
    agent, plain = observed(scalar_agent(observations={"normalise": True}), ROWS), scalar_agent()

    def normalised(observation: Tensor) -> Tensor:
        return ((observation - ROWS.mean(0)) / ROWS.std(0, correction=0)).clamp(-10, 10)

    script = random_transitions(2, 9)
    script = script._replace(observation=ROWS[:18].view(2, 9, 3), next_observation=ROWS[18:36].view(2, 9, 3))
    in_units = script._replace(
        observation=normalised(script.observation), next_observation=normalised(script.next_observation)
    )
    trials = [
        play(one, one.begin(2, generator(0)), transitions) for one, transitions in ((agent, script), (plain, in_units))
    ]
    for found, expected in zip(trials[0][0], trials[1][0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    for one, transitions in ((agent, script), (plain, in_units)):
        one.update(MetaBatch(as_context(transitions), transitions), generator(0))
    for name, value in plain.named_parameters():
        torch.testing.assert_close(agent.get_parameter(name), value, rtol=1e-3, atol=1e-4)


def test_a_loaded_agent_normalises_as_the_saved_one() -> None:
    agent, loaded = (
        observed(pearl_agent(observations={"normalise": True}), ROWS),
        pearl_agent(1, observations={"normalise": True}),
    )
    loaded.load_state_dict(agent.state_dict())
    assert torch.equal(loaded.features(ROWS), agent.features(ROWS))
    later = torch.randn(5, 3)
    for each in (agent, loaded):
        each.features.see(later)
    assert_identical(state(loaded), state(agent))


def test_an_agent_that_does_not_normalise_has_nothing_to_learn_from_what_it_sees() -> None:
    agent = pearl_agent(observations={"normalise": False})
    agent.see(whole_trials(1))
    assert not list(agent.features.parameters())
    assert not list(agent.features.buffers())
    assert isinstance(agent.features, VectorFeatures)
    assert torch.equal(agent.features(ROWS), ROWS)


def test_images_are_not_normalised() -> None:
    for normalise in (False, True):
        features = make_features(IMAGES, PEARLAgentConfig(observations=ObservationsConfig(normalise=normalise)))
        assert isinstance(features, ImageFeatures)
        assert not features.state_dict().keys() & {"count", "mean", "variance"}


def test_of_images_running_units_know_rewards_alone() -> None:
    agent = image_agent(fields=("reward", "next_observation"))
    seen = whole_trials(1)
    pixels = image_transitions(3, 8)._replace(reward=seen.training_reward)
    agent.see(seen._replace(transitions=pixels))
    assert agent.units is not None
    assert agent.units.change is None
    assert agent.units.reward.count == seen.mask.sum()
    context = as_context(image_transitions(2, 5))
    with torch.no_grad():
        rewards = seen.training_reward[seen.mask]
        read = context._replace(
            observation=agent.features(context.observation),
            action=agent.actions.encode(context.action),
            reward=(context.reward - rewards.mean()) / rewards.std(correction=0),
            next_observation=agent.features(context.next_observation),
        )
        expected = agent.encoder.posterior(agent.encoder.encode(read))
        found = agent.encoder.posterior(agent.infer(context))
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)


def image_agent(
    seed: int = 0, *, fields: tuple[str, ...] = ("observation", "action", "reward"), **settings: Any
) -> PEARLAgent:
    encoder = EncoderConfig(
        latent_dim=3,
        hidden_sizes=(16,),
        feature_dim=8,
        head_sizes=(8,),
        context_fields=fields,
    )
    config = from_mapping(
        PEARLAgentConfig,
        {"hidden_sizes": (16,), "observations": {"image_channels": (4, 5), "image_features": 6}} | settings,
    )
    return PEARLAgent(IMAGES, gym.spaces.Discrete(5, start=-2), encoder, config, generator(seed))


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (*shape, PIXELS), generator=generator(seed), dtype=torch.uint8)


def image_transitions(*shape: int, seed: int = 0) -> Transitions:
    transitions = random_transitions(*shape, seed=seed, action_space=gym.spaces.Discrete(5, start=-2))
    return transitions._replace(
        observation=images(*shape, seed=2 * seed), next_observation=images(*shape, seed=2 * seed + 1)
    )


def image_batch(seed: int = 0) -> MetaBatch:
    return MetaBatch(as_context(image_transitions(3, 6, seed=2 * seed + 1)), image_transitions(3, 8, seed=2 * seed))


def test_an_images_features_are_those_of_its_own_pixels_whatever_the_batch() -> None:
    features = ImageFeatures(IMAGE_SHAPE, (4, 5), 6)
    batch = images(2, 4)
    found = features(batch)
    assert found.shape == (2, 4, 6)
    assert found.dtype == torch.float32
    for task in range(2):
        for step in range(4):
            alone = features(batch[task, step].unsqueeze(0)).squeeze(0)
            torch.testing.assert_close(found[task, step], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features(batch[:, 0]), found[:, 0], rtol=1e-4, atol=1e-5)


def test_convolutions_read_rows_columns_and_channels_where_they_are() -> None:
    features = ImageFeatures(IMAGE_SHAPE, (4,), 6)
    first: list[Tensor] = []
    features.network[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    picture = np.zeros(IMAGE_SHAPE, np.uint8)
    picture[2, 7, 1] = 255
    features(torch.from_numpy(picture.ravel()).unsqueeze(0))
    assert first[0].shape == (1, 3, 17, 21)
    assert first[0][0, 1, 2, 7] == 0.5
    assert (first[0] == -0.5).sum() == PIXELS - 1


@pytest.mark.parametrize(
    ("shape", "channels"), [((64, 64, 3), (16, 32, 32, 32)), ((17, 19, 1), (2,)), ((33, 32, 4), (3,) * 4)]
)
def test_images_of_any_size_give_as_many_features_as_told(shape: tuple[int, ...], channels: tuple[int, ...]) -> None:
    flat = torch.randint(256, (2, 3, int(np.prod(shape))), dtype=torch.uint8)
    found = ImageFeatures(shape, channels, 11)(flat)
    assert found.shape == (2, 3, 11)
    assert (found.abs() <= 1).all()
    assert found.std() > 0


def test_every_network_reads_the_features_in_place_of_the_image() -> None:
    agent = image_agent(fields=("observation", "action", "reward", "next_observation"))
    assert (agent.observation_dim, agent.features.dim) == (PIXELS, 6)
    assert agent.encoder.input_dim == 6 + 5 + 1 + 6
    assert agent.critics.weights[0].shape == (2, 6 + 3, 16)
    memory = agent.begin(3, generator(0))
    action = agent.act(images(3), memory, all_of(3, True), generator(0)).action
    logits = agent.actor(agent.features(images(3)), memory.z_mean).log_probs
    assert torch.equal(action.flatten(), logits.argmax(-1) - 2.0)


def updated(agent: PEARLAgent, batch: MetaBatch) -> Tensor:
    """Take a gradient step; return the z that it drew."""
    drawn: list[Tensor] = []
    with agent.actor.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[1].detach())):
        agent.update(batch, generator(4))
    return drawn[0]


def test_the_features_gradient_is_that_of_the_critics_loss_and_the_kl_and_of_no_other() -> None:
    agent, before = (image_agent(discount=0.0, kl_weight=0.7, reward_scale=1.0) for _ in range(2))
    batch = image_batch()
    drawn = updated(agent, batch)
    posterior = before.encoder.posterior(before.infer(batch.context))
    mean, stddev = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
    z = mean + stddev * ((drawn - mean) / stddev).detach()
    data = batch.transitions
    number = (data.action + 2).long().expand(2, -1, -1, -1)
    q = before.critics(before.features(data.observation), z).gather(-1, number).squeeze(-1)
    loss = critic_loss(q, data.reward) + 0.7 * kl_to_unit_gaussian(posterior)
    gradients = torch.autograd.grad(loss, list(before.features.parameters()))
    for parameter, gradient in zip(agent.features.parameters(), gradients, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_the_convolutions_do_not_feel_the_actors_loss() -> None:
    # Without discount the actor and the temperature have no part in the critics' targets.
    agents = [image_agent(discount=0.0, initial_temperature=start, reward_scale=1.0) for start in (0.1, 5.0)]
    nn.init.normal_(agents[1].actor.network[-1].bias)
    for agent in agents:
        agent.update(image_batch(), generator(0))
    first, second = map(state, agents)
    kept = [name for name in first if name.startswith(("features", "encoder", "critics"))]
    assert_identical([second[name] for name in kept], [first[name] for name in kept])
    assert not torch.equal(first["actor.network.0.weight"], second["actor.network.0.weight"])
    fresh = state(image_agent(reward_scale=1.0))
    assert all(not torch.equal(first[name], fresh[name]) for name in kept if name.startswith("features"))


def test_the_whole_context_equals_its_steps_one_at_a_time() -> None:
    fields = ("observation", "action", "reward", "next_observation")
    for agent in (image_agent(), image_agent(fields=fields)):
        script = image_transitions(2, 5)
        memory = agent.begin(2, generator(0))
        for step in range(5):
            memory = agent.observe(memory, at_step(script, step), all_of(2, True))
        whole = agent.encoder.posterior(agent.infer(as_context(script)))
        torch.testing.assert_close(agent.posterior(memory).mean, whole.mean, rtol=1e-4, atol=1e-5)


def test_next_images_are_read_where_the_encoder_reads_them_and_only_there() -> None:
    def means(agent: PEARLAgent) -> list[Tensor]:
        context = as_context(image_transitions(2, 5))
        other = context._replace(next_observation=images(2, 5, seed=99))
        return [agent.encoder.posterior(agent.infer(each)).mean for each in (context, other)]

    without, reading = means(image_agent()), means(image_agent(fields=("reward", "next_observation")))
    assert torch.equal(*without)
    assert not torch.allclose(*reading)


def test_masked_images_teach_nothing() -> None:
    agent, other = image_agent(reward_scale=1.0), image_agent(reward_scale=1.0)
    batch = image_batch()
    mask = batch.context.mask.clone()
    mask[:, 3:] = False
    noise = images(3, 6, seed=99)
    hidden = batch.context._replace(mask=mask)
    replaced = hidden._replace(observation=torch.where(mask.unsqueeze(-1), hidden.observation, noise))
    for each, context in ((agent, hidden), (other, replaced)):
        each.update(batch._replace(context=Context(*context)), generator(0))
    assert_identical(state(other), state(agent))


def test_the_agents_vectors_are_as_wide_as_the_space() -> None:
    assert make_features(OBSERVATION_SPACE, PEARLAgentConfig()).dim == OBSERVATION_DIM


def test_an_image_too_small_for_so_many_convolutions_is_refused_with_a_remedy() -> None:
    with pytest.raises(
        ValueError, match=r"of 17 x 21 pixels are too small for 4 .*agent\.observations\.image_channels fewer"
    ):
        image_agent(observations={"image_channels": (4, 4, 4, 4)})
