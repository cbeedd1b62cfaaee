"""How PEARL learns: where each gradient comes from and what each setting does."""

import math
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents import MetaBatch, PEARLAgent
from agents.losses import actor_loss, critic_loss, soft_bellman_target, soft_value, temperature_loss
from encoders import kl_to_unit_gaussian
from tests.support.agent_tester import (
    HIGH,
    KINDS,
    LOW,
    assert_gradients,
    assert_identical,
    generator,
    learn,
    part,
    pearl_agent,
    random_batch,
    state,
    updated,
)


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def with_transitions(batch: MetaBatch, **fields: Tensor) -> MetaBatch:
    return batch._replace(transitions=batch.transitions._replace(**fields))


def to_unit(action: Tensor) -> Tensor:
    return 2.0 * (action - torch.from_numpy(LOW)) / torch.from_numpy(HIGH - LOW) - 1.0


class Draws(NamedTuple):
    """The random draws of an update, as the networks met them."""

    z: Tensor
    """(task, step, latent_dim)"""
    next_action: torch.Generator
    """as it was when the next actions were drawn"""
    new_action: torch.Generator
    """as it was when the actor's actions were drawn"""


def update_and_watch(agent: PEARLAgent, batch: MetaBatch, rng: torch.Generator) -> Draws:
    seen: list[tuple[Tensor, torch.Generator]] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        met = torch.Generator()
        met.set_state(rng.get_state())
        seen.append((inputs[1].detach(), met))

    with agent.actor.register_forward_pre_hook(watch):
        agent.update(batch, rng)
    assert len(seen) == 2
    assert torch.equal(seen[0][0], seen[1][0])
    return Draws(seen[0][0], seen[0][1], seen[1][1])


def written_out_gradients(agent: PEARLAgent, batch: MetaBatch, draws: Draws) -> dict[str, list[Tensor]]:
    """Each part's gradient by algorithm 1: the same draws, each loss differentiated on its own."""
    config, data = agent.config, batch.transitions
    context = batch.context._replace(action=to_unit(batch.context.action))
    posterior = agent.encoder.posterior(agent.encoder.encode(context))
    mean, stddev = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
    noise = ((draws.z - mean) / stddev).detach() if agent.encoder.stochastic else torch.zeros_like(draws.z)
    z = mean + stddev * noise
    temperature = agent.log_temperature.exp().detach()
    with torch.no_grad():
        next_action, next_log_prob = agent.actor(data.next_observation, z).sample(draws.next_action)
        next_q = agent.target_critics(data.next_observation, next_action, z).squeeze(-1)
    reward = config.reward_scale * data.reward
    next_value = soft_value(next_q, next_log_prob, temperature)
    target = soft_bellman_target(reward, data.terminated, next_value, config.discount)
    value = critic_loss(agent.critics(data.observation, to_unit(data.action), z).squeeze(-1), target)
    if agent.encoder.stochastic:
        value = value + config.kl_weight * kl_to_unit_gaussian(posterior)
    encoder, critics = list(agent.encoder.parameters()), list(agent.critics.parameters())
    gradients = torch.autograd.grad(value, [*encoder, *critics])
    action, log_prob = agent.actor(data.observation, z.detach()).sample(draws.new_action)
    new_q = agent.critics(data.observation, action, z.detach()).squeeze(-1)
    policy = actor_loss(soft_value(new_q, log_prob, temperature))
    entropy = temperature_loss(agent.log_temperature, -log_prob.detach(), agent.target_entropy)
    return {
        "encoder": list(gradients[: len(encoder)]),
        "critics": list(gradients[len(encoder) :]),
        "actor": list(torch.autograd.grad(policy, list(agent.actor.parameters()))),
        "log_temperature": list(torch.autograd.grad(entropy, [agent.log_temperature])),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_parts_gradient_is_that_of_its_own_losses_and_of_no_other(kind: str) -> None:
    agent = pearl_agent(kind=kind, kl_weight=0.7, discount=0.9, reward_scale=3.0, target_update_rate=0.5)
    learn(agent, 3)
    before, batch = pearl_agent(kind=kind), random_batch(50)
    before.load_state_dict(agent.state_dict())
    before.config = agent.config
    draws = update_and_watch(agent, batch, generator(4))
    assert_gradients(agent, written_out_gradients(before, batch, draws))


def test_each_transition_has_a_sample_of_z_of_its_own_for_its_value_its_target_and_the_actor() -> None:
    agent, batch, seen = pearl_agent(), random_batch(tasks=2, steps=4000), []
    for critics in (agent.critics, agent.target_critics):
        critics.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2].detach()))
    posterior = agent.encoder.posterior(agent.infer(batch.context))
    agent.update(batch, generator(0))
    assert len(seen) == 3
    assert_identical(seen[1:], [seen[0], seen[0]])
    noise = (seen[0] - posterior.mean.detach().unsqueeze(1)) / posterior.stddev.detach().unsqueeze(1)
    torch.testing.assert_close(noise.mean(1), torch.zeros(2, 3), rtol=0, atol=0.07)
    torch.testing.assert_close(noise.std(1), torch.ones(2, 3), rtol=0, atol=0.07)


def test_the_encoder_and_critics_do_not_feel_the_actors_loss() -> None:
    # Without discount the actor and the temperature have no part in the critics' targets.
    plain = updated(discount=0.0)
    other = pearl_agent(discount=0.0, initial_temperature=5.0)
    nn.init.constant_(other.actor.network[-1].bias, 0.7)
    other.update(random_batch(), generator(0))
    assert not same(part(other, "actor"), part(plain, "actor"))
    assert_identical(part(other, "encoder"), part(plain, "encoder"))
    assert_identical(part(other, "critics"), part(plain, "critics"))


def test_the_critics_loss_alone_moves_the_encoder() -> None:
    assert not same(part(updated(kl_weight=0.0), "encoder"), part(pearl_agent(), "encoder"))


def test_the_kl_moves_the_encoder_and_neither_actor_nor_critics() -> None:
    without, with_kl = updated(kl_weight=0.0), updated(kl_weight=1.0)
    assert not same(part(with_kl, "encoder"), part(without, "encoder"))
    for name in ("actor", "critics"):
        assert_identical(part(with_kl, name), part(without, name))


def test_a_heavy_kl_weight_draws_the_posterior_to_the_prior() -> None:
    batch = random_batch()
    kls = {}
    for weight in (0.0, 100.0):
        agent = pearl_agent(kl_weight=weight, learning_rate=1e-2)
        kls[weight] = [float(agent.update(batch, generator(step))["kl"]) for step in range(30)]
    assert kls[100.0][-1] < 0.5 * kls[100.0][0]
    assert kls[100.0][-1] < kls[0.0][-1]


def test_a_deterministic_encoder_has_no_kl() -> None:
    agent = pearl_agent(kind="mean", kl_weight=1.0)
    assert "kl" not in agent.update(random_batch(), generator(0))
    assert_identical(state(agent), state(updated(kind="mean", kl_weight=0.0)))


@pytest.mark.parametrize("rate", [0.005, 0.3, 1.0])
def test_the_target_critics_move_by_exactly_the_target_update_rate(rate: float) -> None:
    agent = pearl_agent(target_update_rate=rate)
    assert_identical(part(agent, "target_critics"), part(agent, "critics"))
    learn(agent, 2)
    before = part(agent, "target_critics")
    learn(agent, 1, first=2)
    for old, new, critic in zip(before, part(agent, "target_critics"), part(agent, "critics"), strict=True):
        torch.testing.assert_close(new, old + rate * (critic - old), rtol=1e-6, atol=1e-8)
        assert torch.equal(new, critic) == (rate == 1.0)


def test_the_optimizer_moves_everything_learnt_and_no_target() -> None:
    agent = pearl_agent()
    moved = {id(parameter) for group in agent.optimizer.param_groups for parameter in group["params"]}
    learnt = {id(value) for name, value in agent.named_parameters() if not name.startswith("target_critics")}
    assert moved == learnt


def test_the_target_critics_and_not_the_critics_make_the_target() -> None:
    agent, other = pearl_agent(), pearl_agent()
    for parameter in other.target_critics.parameters():
        parameter.data += 0.5
    losses = [each.update(random_batch(), generator(0)) for each in (agent, other)]
    assert losses[0]["q_mean"] == losses[1]["q_mean"]
    assert losses[0]["critic_loss"] != losses[1]["critic_loss"]


def test_the_critics_differ_after_learning() -> None:
    agent = pearl_agent()
    learn(agent, 5)
    for ensemble in (agent.critics, agent.target_critics):
        assert all(not torch.allclose(weight[0], weight[1]) for weight in ensemble.weights)


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_a_fixed_temperature_stays_fixed(temperature: float) -> None:
    agent = pearl_agent(temperature=temperature)
    reports = learn(agent, 5)
    assert all(float(report["temperature"]) == pytest.approx(temperature) for report in reports)
    assert float(agent.log_temperature.detach().exp()) == pytest.approx(temperature)
    assert all(value.isfinite().all() for name, value in state(agent).items() if name != "log_temperature")


def test_a_learned_temperature_starts_where_told() -> None:
    assert float(learn(pearl_agent(initial_temperature=0.3), 1)[0]["temperature"]) == pytest.approx(0.3)


@pytest.mark.parametrize(("target_entropy", "direction"), [(20.0, 1.0), (-20.0, -1.0)])
def test_a_learned_temperature_rises_while_the_entropy_is_under_its_target_and_falls_over_it(
    target_entropy: float, direction: float
) -> None:
    agent = pearl_agent(target_entropy=target_entropy)
    temperatures = [float(report["temperature"]) for report in learn(agent, 5)]
    assert all(direction * step > 0 for step in np.diff(temperatures))


def test_the_target_entropy_is_minus_the_action_width_where_none_is_given() -> None:
    assert pearl_agent().target_entropy == -2.0
    assert pearl_agent(target_entropy=0.25).target_entropy == 0.25


def test_the_reward_scale_is_a_factor_on_the_critics_reward_and_not_on_the_contexts() -> None:
    batch = random_batch()
    scaled = with_transitions(batch, reward=5.0 * batch.transitions.reward)
    assert_identical(state(updated(batch, reward_scale=5.0)), state(updated(scaled)))
    assert not same(part(updated(batch, reward_scale=5.0), "critics"), part(updated(batch), "critics"))


def test_a_termination_cuts_the_bootstrap_and_a_time_limit_does_not() -> None:
    def loss(terminated: float, next_observation: Tensor) -> float:
        ended = torch.full((3, 8), terminated)
        batch = with_transitions(random_batch(), terminated=ended, next_observation=next_observation)
        return float(pearl_agent().update(batch, generator(0))["critic_loss"])

    first, second = random_batch().transitions.next_observation, random_batch(1).transitions.next_observation
    assert loss(1.0, first) == loss(1.0, second)
    assert loss(0.0, first) != loss(0.0, second)


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_context_teaches_what_the_unpadded_one_does(kind: str) -> None:
    batch = random_batch()
    padding = random_batch(1).context
    padding = padding._replace(mask=torch.zeros_like(padding.mask), reward=torch.full_like(padding.reward, math.nan))
    padded = type(padding)(*(torch.cat(pair, dim=1) for pair in zip(batch.context, padding, strict=True)))
    plain, other = updated(batch, kind=kind), updated(batch._replace(context=padded), kind=kind)
    for name, value in state(plain).items():
        torch.testing.assert_close(state(other)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_context_teaches_under_the_prior_and_leaves_the_encoder_alone(kind: str) -> None:
    batch = random_batch()
    empty = batch._replace(context=batch.context._replace(mask=torch.zeros_like(batch.context.mask)))
    agent = updated(empty, kind=kind)
    assert_identical(part(agent, "encoder"), part(pearl_agent(kind=kind), "encoder"))
    assert not same(part(agent, "critics"), part(pearl_agent(kind=kind), "critics"))


def test_learning_does_not_depend_on_the_actions_units() -> None:
    batch = random_batch()
    in_units = batch._replace(
        context=batch.context._replace(action=to_unit(batch.context.action)),
        transitions=batch.transitions._replace(action=to_unit(batch.transitions.action)),
    )
    plain = updated(batch)
    other = updated(in_units, action_space=gym.spaces.Box(np.float32(-1.0), np.float32(1.0), (2,)))
    for name in ("encoder", "actor", "critics"):
        for left, right in zip(part(plain, name), part(other, name), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_the_learning_rate_set_is_the_one_used() -> None:
    frozen = pearl_agent()
    before = state(frozen)
    frozen.set_learning_rate(0.0)
    learn(frozen, 2)
    for name in ("encoder", "actor", "critics", "log_temperature"):
        assert_identical(part(frozen, name), [value for key, value in before.items() if key.startswith(name)])
    agent = pearl_agent(learning_rate=1e-2)
    before = state(agent)
    learn(agent, 1)
    # Adam's first step is as long as its step size in every coordinate that has a gradient.
    longest = max(float((value - before[name]).abs().max()) for name, value in state(agent).items())
    assert longest == pytest.approx(1e-2, rel=1e-3)


def test_the_report_describes_the_batch() -> None:
    agent, batch = pearl_agent(), random_batch()
    posterior = agent.encoder.posterior(agent.infer(batch.context))
    report = agent.update(batch, generator(0))
    losses = {"critic_loss", "actor_loss", "kl", "q_mean", "temperature", "entropy"}
    assert set(report) == losses | {"posterior_stddev", "posterior_mean_spread"}
    torch.testing.assert_close(report["kl"], kl_to_unit_gaussian(posterior).detach())
    torch.testing.assert_close(report["posterior_stddev"], posterior.stddev.mean().detach())
    spread = posterior.mean.detach().numpy().std(axis=0).mean()
    assert float(report["posterior_mean_spread"]) == pytest.approx(spread, rel=1e-4)
