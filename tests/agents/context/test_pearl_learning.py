"""How PEARL learns: what each loss moves and what each setting does."""

import math
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents import MetaBatch, PEARLAgent
from agents.learning.value_scale import expected_returns
from encoders import kl_to_unit_gaussian
from tests.support.agent_tester import (
    KINDS,
    assert_identical,
    generator,
    learn,
    pearl_agent,
    random_batch,
    scalar_agent,
    state,
    whole_trials,
)
from tests.support.pearl_tester import part, to_unit, updated

SEEN = whole_trials(1)
"""The trials of which agents in running units know the units"""


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def with_transitions(batch: MetaBatch, **fields: Tensor) -> MetaBatch:
    return batch._replace(transitions=batch.transitions._replace(**fields))


def test_each_transition_has_a_sample_of_z_of_its_own_for_its_value_its_target_and_the_actor() -> None:
    agent, batch, seen = scalar_agent(), random_batch(tasks=2, steps=4000), []
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
    plain = updated(make=scalar_agent, discount=0.0)
    other = scalar_agent(discount=0.0, initial_temperature=5.0)
    nn.init.constant_(other.actor.network[-1].bias, 0.7)
    other.update(random_batch(), generator(0))
    assert not same(part(other, "actor"), part(plain, "actor"))
    assert_identical(part(other, "encoder"), part(plain, "encoder"))
    assert_identical(part(other, "critics"), part(plain, "critics"))


def test_the_critics_loss_alone_moves_the_encoder() -> None:
    assert not same(part(updated(make=scalar_agent, kl_weight=0.0), "encoder"), part(pearl_agent(), "encoder"))


def test_categorical_critics_teach_the_encoder_from_the_second_step_on() -> None:
    agent = pearl_agent(kl_weight=0.0)
    born = part(agent, "encoder")
    learn(agent, 1)  # The outputs are born zero: the first step changes these alone.
    assert same(part(agent, "encoder"), born)
    learn(agent, 1)
    assert not same(part(agent, "encoder"), born)


def test_the_kl_moves_the_encoder_and_neither_actor_nor_critics() -> None:
    without, with_kl = (updated(make=scalar_agent, kl_weight=weight) for weight in (0.0, 1.0))
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


@pytest.mark.parametrize("make", [pearl_agent, scalar_agent])
def test_the_target_critics_and_not_the_critics_make_the_target(make: Callable[[], PEARLAgent]) -> None:
    agent, other = make(), make()
    for each in (agent, other):
        learn(each, 1)
    for parameter in other.target_critics.parameters():
        parameter.data += 0.5 * torch.rand(parameter.shape, generator=generator(1))
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


def test_the_target_entropy_is_minus_half_the_action_width_where_none_is_given() -> None:
    assert pearl_agent().target_entropy == -1.0
    assert pearl_agent(target_entropy=0.25).target_entropy == 0.25


def test_the_reward_scale_is_a_factor_on_the_critics_reward_and_not_on_the_contexts() -> None:
    batch = random_batch()
    scaled = with_transitions(batch, reward=5.0 * batch.transitions.reward)
    factor, plain = updated(batch, make=scalar_agent, reward_scale=5.0), updated(batch, make=scalar_agent)
    assert_identical(state(factor), state(updated(scaled, make=scalar_agent)))
    assert not same(part(factor, "critics"), part(plain, "critics"))


@pytest.mark.parametrize("unit", [2.0**-12, 2.0**9])
def test_in_running_units_the_rewards_unit_changes_no_weight(unit: float) -> None:
    def taught(factor: float) -> dict[str, Tensor]:
        agent = pearl_agent()
        reward = factor * SEEN.training_reward
        agent.see(SEEN._replace(transitions=SEEN.transitions._replace(reward=reward), training_reward=reward))
        for number in range(3):
            batch = random_batch(number)
            batch = with_transitions(batch, reward=factor * batch.transitions.reward)
            agent.update(batch._replace(context=batch.context._replace(reward=factor * batch.context.reward)), rng)
        return {name: parameter.detach() for name, parameter in agent.named_parameters()}

    rng = generator(0)
    expected, rng = taught(1.0), generator(0)
    assert_identical(taught(unit), expected)


@pytest.mark.parametrize("make", [pearl_agent, scalar_agent])
def test_a_termination_cuts_the_bootstrap_and_a_time_limit_does_not(make: Callable[[], PEARLAgent]) -> None:
    def loss(terminated: float, next_observation: Tensor) -> float:
        ended = torch.full((3, 8), terminated)
        batch = with_transitions(random_batch(), terminated=ended, next_observation=next_observation)
        agent = make()
        learn(agent, 2)
        return float(agent.update(batch, generator(0))["critic_loss"])

    first, second = random_batch().transitions.next_observation, random_batch(1).transitions.next_observation
    assert loss(1.0, first) == loss(1.0, second)
    assert loss(0.0, first) != loss(0.0, second)


def test_in_running_units_the_state_after_a_termination_is_worth_zero_and_not_the_mean_return() -> None:
    agent = pearl_agent(discount=0.9)
    agent.see(SEEN)
    returns = expected_returns(SEEN, 0.9)
    mean, deviation = float(returns.mean()), float(returns.std(correction=0))
    # The next state's value by the critics, 0.5, is worth half a standard deviation more than the mean.
    target = agent.bellman_target(torch.tensor([[2.0, 2.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]))
    assert target[0, 0].item() == pytest.approx((2.0 + 0.9 * (mean + 0.5 * deviation) - mean) / deviation, rel=1e-5)
    assert target[0, 1].item() == pytest.approx((2.0 - mean) / deviation, rel=1e-5)


@pytest.mark.parametrize("make", [pearl_agent, scalar_agent])
@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_context_teaches_what_the_unpadded_one_does(kind: str, make: Callable[..., PEARLAgent]) -> None:
    batch = random_batch()
    padding = random_batch(1).context
    padding = padding._replace(mask=torch.zeros_like(padding.mask), reward=torch.full_like(padding.reward, math.nan))
    padded = type(padding)(*(torch.cat(pair, dim=1) for pair in zip(batch.context, padding, strict=True)))
    plain, other = (updated(given, make=make, kind=kind) for given in (batch, batch._replace(context=padded)))
    for name, value in state(plain).items():
        torch.testing.assert_close(state(other)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_context_teaches_under_the_prior_and_leaves_the_encoder_alone(kind: str) -> None:
    batch = random_batch()
    empty = batch._replace(context=batch.context._replace(mask=torch.zeros_like(batch.context.mask)))
    agent, born = updated(empty, make=scalar_agent, kind=kind), scalar_agent(kind=kind)
    assert_identical(part(agent, "encoder"), part(born, "encoder"))
    assert not same(part(agent, "critics"), part(born, "critics"))


def test_learning_does_not_depend_on_the_actions_units() -> None:
    batch = random_batch()
    in_units = batch._replace(
        context=batch.context._replace(action=to_unit(batch.context.action)),
        transitions=batch.transitions._replace(action=to_unit(batch.transitions.action)),
    )
    plain = updated(batch, make=scalar_agent)
    other = updated(in_units, make=scalar_agent, action_space=gym.spaces.Box(np.float32(-1.0), np.float32(1.0), (2,)))
    for name in ("encoder", "actor", "critics"):
        for left, right in zip(part(plain, name), part(other, name), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_the_learning_rate_set_is_the_one_used() -> None:
    frozen = pearl_agent()
    before = state(frozen)
    frozen.set_learning_rate(0.0)
    learn(frozen, 2)
    for name in ("encoder", "actor", "log_temperature"):
        assert_identical(part(frozen, name), [value for key, value in before.items() if key.startswith(name)])
    for name, weights in frozen.critics.state_dict().items():  # Their norm is 1 within rounding.
        torch.testing.assert_close(weights, before[f"critics.{name}"], rtol=0, atol=1e-6)
    agent = pearl_agent(learning_rate=1e-2)
    before = state(agent)
    learn(agent, 1)
    # Adam's first step is as long as its step size in every coordinate that has a gradient.
    longest = max(float((value - before[name]).abs().max()) for name, value in state(agent).items())
    assert longest == pytest.approx(1e-2, rel=1e-3)


def test_the_critics_hidden_weights_keep_the_norm_1_through_learning() -> None:
    agent = pearl_agent(learning_rate=1e-2)
    before = state(agent)
    learn(agent, 3)
    for index, weight in enumerate(list(agent.critics.weights)[:-1]):
        assert (weight - before[f"critics.weights.{index}"]).abs().max() > 1e-2
        torch.testing.assert_close(weight.norm(dim=1), torch.ones_like(weight[:, 0]))


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
