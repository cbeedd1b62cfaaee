"""PEARL over a finite set of actions: expectations in the place of samples (Christodoulou 2019)."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents import MetaBatch, PEARLAgent, Trials
from agents.losses import critic_loss, expected_soft_value, soft_value
from agents.networks.actions import DiscreteActions
from agents.networks.policies import Categorical
from agents.networks.value_bins import N_BINS
from encoders import kl_to_unit_gaussian
from tests.support.agent_tester import (
    DISCRETE,
    MULTI_DISCRETE,
    OBSERVATION_DIM,
    all_of,
    as_context,
    assert_identical,
    generator,
    learn,
    pearl_agent,
    random_batch,
    random_transitions,
    scalar_agent,
    state,
)
from tests.support.pearl_tester import assert_gradients

ACTIONS = DiscreteActions(MULTI_DISCRETE)
TWO = gym.spaces.Discrete(2)


def categorical(*probabilities: float) -> Categorical:
    return Categorical(torch.tensor(probabilities).log())


def test_the_expected_soft_value_equals_the_number_worked_out_by_hand() -> None:
    # The smaller critic's value of each action by itself: 1 of the first, 3 of the second.
    q = torch.tensor([[[[1.0, 4.0]]], [[[2.0, 3.0]]]])
    found = expected_soft_value(q, torch.tensor([[[0.25, 0.75]]]).log(), torch.tensor(0.5))
    by_hand = 0.25 * (1.0 - 0.5 * math.log(0.25)) + 0.75 * (3.0 - 0.5 * math.log(0.75))
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(by_hand)


def test_the_expected_soft_value_is_the_mean_of_the_soft_values_of_sampled_actions() -> None:
    rng, n = generator(0), 200_000
    q, log_probs = torch.randn(2, 3, 1, 4, generator=rng), torch.randn(3, 1, 4, generator=rng).log_softmax(-1)
    number = Categorical(log_probs.expand(3, n, 4)).sample(rng).unsqueeze(-1)
    sampled_q = q.expand(2, 3, n, 4).gather(-1, number.expand(2, 3, n, 1)).squeeze(-1)
    sampled_log_prob = log_probs.expand(3, n, 4).gather(-1, number).squeeze(-1)
    values = soft_value(sampled_q, sampled_log_prob, torch.tensor(0.3))
    expected = expected_soft_value(q, log_probs, torch.tensor(0.3)).squeeze(1)
    assert ((values.mean(1) - expected).abs() < 4 * values.std(1) / math.sqrt(n)).all()


def test_an_action_that_is_all_but_impossible_gives_finite_values_and_gradients() -> None:
    logits = torch.tensor([[[0.0, -500.0]]], requires_grad=True)
    log_probs = logits.log_softmax(-1)
    value = expected_soft_value(torch.tensor([[[[2.0, 9.0]]]]), log_probs, torch.tensor(0.2))
    value.backward()
    assert value.item() == pytest.approx(2.0)
    assert Categorical(log_probs).entropy().item() == 0.0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("probabilities", "entropy"),
    [((0.5, 0.25, 0.25), 1.5 * math.log(2)), ((0.2,) * 5, math.log(5)), ((1 - 1e-12, 1e-12), 0.0)],
)
def test_the_entropy_equals_the_number_worked_out_by_hand(probabilities: tuple[float, ...], entropy: float) -> None:
    assert categorical(*probabilities).entropy().item() == pytest.approx(entropy, abs=1e-6)


def test_actions_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities, n = (0.5, 0.3, 0.15, 0.049, 0.001), 200_000
    drawn = Categorical(categorical(*probabilities).log_probs.expand(n, 5)).sample(generator(0))
    counts, expected = drawn.bincount(minlength=5), n * torch.tensor(probabilities)
    assert drawn.dtype == torch.int64
    # 18.47 is the 99.9 % quantile of the chi-squared distribution with 4 degrees of freedom.
    assert ((counts - expected).square() / expected).sum() < 18.47


def test_draws_come_from_the_generator_given_and_from_nothing_else() -> None:
    policy, before = Categorical(torch.zeros(50, 4).log_softmax(-1)), torch.get_rng_state()
    samples = [policy.sample(generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_likeliest_action_is_chosen_where_greedy_and_a_sample_elsewhere() -> None:
    policy = Categorical(torch.tensor([0.1, 0.2, 0.3, 0.25, 0.1, 0.05]).log().expand(1000, 6))
    greedy = torch.arange(1000) % 2 == 0
    rows = ACTIONS.choose(policy, greedy, generator(0))
    # Of (1, -1), (1, 0), (2, -1), … the third.
    assert (rows[greedy] == torch.tensor([2.0, -1.0])).all()
    assert len(rows[~greedy].unique(dim=0)) == 6
    assert torch.equal(ACTIONS.choose(policy, all_of(1000, True), generator(1)), rows[greedy][:1].expand(1000, 2))


def test_encoding_is_one_hot_over_every_combination() -> None:
    for row, one_hot in zip(ACTIONS.table, torch.eye(6), strict=True):
        assert torch.equal(ACTIONS.encode(row), one_hot)
    rows = ACTIONS.table[torch.tensor([[5, 0, 0], [3, 3, 1]])]
    assert ACTIONS.encode(rows).shape == (2, 3, 6)
    assert ACTIONS.encode(rows).argmax(-1).tolist() == [[5, 0, 0], [3, 3, 1]]


def test_a_row_that_is_no_action_is_encoded_as_none_of_them() -> None:
    # Padding, which a mask tells from transitions, may hold anything.
    wrong = torch.tensor([[0.0, 0.0], [math.nan, -1.0], [1.5, 0.0], [1.0, 1.0]])
    assert torch.equal(ACTIONS.encode(wrong), torch.zeros(4, 6))


class TableOfValues(nn.Module):
    """Critics of given values, (critic, task, step, action), whatever they read."""

    def __init__(self, q: Tensor) -> None:
        super().__init__()
        self.q = nn.Parameter(q)

    def forward(self, observation: Tensor, z: Tensor) -> Tensor:
        return 1.0 * self.q


def test_the_value_of_an_action_taken_is_its_own_in_every_critic() -> None:
    critics = TableOfValues(torch.arange(24.0).view(2, 1, 2, 6))
    taken = ACTIONS.encode(ACTIONS.table[torch.tensor([[4, 1]])])
    nothing = torch.zeros(1, 2, 0)
    assert ACTIONS.q(critics, nothing, taken, nothing).tolist() == [[[4.0, 7.0]], [[16.0, 19.0]]]


def test_the_soft_value_pulls_the_policy_and_not_the_critics() -> None:
    critics, logits = TableOfValues(torch.randn(2, 1, 1, 6)), torch.zeros(1, 1, 6, requires_grad=True)
    nothing, temperature = torch.zeros(1, 1, 0), torch.tensor(0.2)
    policy = Categorical(logits.log_softmax(-1))
    value, entropy = ACTIONS.soft_value(policy, critics, nothing, nothing, temperature, generator(0))
    smallest = critics.q.detach().amin(0)
    assert value.item() == pytest.approx(smallest.mean().item() + 0.2 * math.log(6))
    assert entropy.item() == pytest.approx(math.log(6))
    value.sum().backward()
    assert critics.q.grad is None
    # For equal logits the slope is (Q(a) - mean Q) / 6: the entropy is at its top and pulls nowhere.
    torch.testing.assert_close(logits.grad, (smallest - smallest.mean()) / 6, rtol=1e-4, atol=1e-6)


def test_acting_deterministically_is_the_likeliest_action_at_the_posterior_mean() -> None:
    agent = pearl_agent(action_space=MULTI_DISCRETE)
    memory = agent.begin(30, generator(0))
    memory = memory._replace(z_mean=3.0 * torch.randn(30, 3))
    observation = 3.0 * torch.randn(30, OBSERVATION_DIM)
    logits = agent.actor.network(torch.cat([observation, memory.z_mean], dim=1))
    found = agent.act(observation, memory, all_of(30, True), generator(0)).action
    assert torch.equal(found, ACTIONS.table[logits.argmax(-1)])
    assert len(found.unique(dim=0)) > 1


def test_acting_otherwise_draws_from_the_policy_at_the_episodes_z() -> None:
    agent, n = pearl_agent(action_space=DISCRETE), 50_000
    z, observation = torch.randn(1, 3), torch.randn(1, OBSERVATION_DIM)
    memory = agent.begin(n, generator(0))._replace(z=z.expand(n, 3), z_mean=torch.full((n, 3), math.nan))
    actions = agent.act(observation.expand(n, -1), memory, all_of(n, False), generator(1)).action
    shares = (actions + 2).long().flatten().bincount(minlength=5) / n
    probabilities = agent.actor(observation, z).log_probs[0].exp().detach()
    torch.testing.assert_close(shares, probabilities, rtol=0, atol=4 * 0.5 / math.sqrt(n))


def update_and_watch_z(agent: PEARLAgent, batch: MetaBatch) -> Tensor:
    seen: list[Tensor] = []
    with agent.actor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].detach())):
        agent.update(batch, generator(4))
    assert len(seen) == 2
    assert torch.equal(*seen)
    return seen[0]


def written_out_gradients(agent: PEARLAgent, batch: MetaBatch, drawn_z: Tensor) -> dict[str, list[Tensor]]:
    """Each part's gradient, each loss differentiated on its own and every expectation written as a sum of products."""
    config, data = agent.config, batch.transitions
    posterior = agent.encoder.posterior(agent.infer(batch.context))
    mean, stddev = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
    z = mean + stddev * ((drawn_z - mean) / stddev).detach()
    temperature = agent.log_temperature.exp().detach()
    with torch.no_grad():
        next_log_probs = agent.actor(data.next_observation, z).log_probs
        next_q = torch.minimum(*agent.target_critics(data.next_observation, z))
        next_value = (next_log_probs.exp() * (next_q - temperature * next_log_probs)).sum(-1)
        target = config.reward_scale * data.reward + config.discount * (1 - data.terminated) * next_value
    number = (data.action + 2).long().expand(2, -1, -1, -1)
    value = critic_loss(agent.critics(data.observation, z).gather(-1, number).squeeze(-1), target)
    value = value + config.kl_weight * kl_to_unit_gaussian(posterior)
    encoder, critics = list(agent.encoder.parameters()), list(agent.critics.parameters())
    gradients = torch.autograd.grad(value, [*encoder, *critics])
    log_probs = agent.actor(data.observation, z.detach()).log_probs
    q = torch.minimum(*agent.critics(data.observation, z.detach()).detach())
    policy = (log_probs.exp() * (temperature * log_probs - q)).sum(-1).mean()
    entropy = -(log_probs.exp() * log_probs).sum(-1).detach()
    return {
        "encoder": list(gradients[: len(encoder)]),
        "critics": list(gradients[len(encoder) :]),
        "actor": list(torch.autograd.grad(policy, list(agent.actor.parameters()))),
        "log_temperature": [(temperature * (entropy - 0.3 * math.log(5)).mean()).detach()],
    }


def test_each_parts_gradient_is_that_of_its_own_losses_and_of_no_other() -> None:
    settings: dict[str, Any] = {"kl_weight": 0.7, "discount": 0.9, "reward_scale": 3.0, "target_update_rate": 0.5}
    agent, before = (scalar_agent(action_space=DISCRETE, **settings) for _ in range(2))
    learn(agent, 3)
    before.load_state_dict(agent.state_dict())
    batch = random_batch(50, action_space=DISCRETE)
    drawn = update_and_watch_z(agent, batch)
    assert_gradients(agent, written_out_gradients(before, batch, drawn))


def test_categorical_critics_learn_the_value_of_the_action_taken_alone() -> None:
    agent = pearl_agent(action_space=DISCRETE, discount=0.0, kl_weight=0.0)
    learn(agent, 3)
    batch = random_batch(50, action_space=DISCRETE)
    data = batch.transitions._replace(action=torch.full_like(batch.transitions.action, 1.0))
    agent.update(batch._replace(transitions=data), generator(0))
    # Of the values of the actions -2, …, 2 the fourth is that of action 1.
    gradient = agent.critics.biases[-1].grad.view(2, 5, N_BINS).abs().amax(-1)
    assert (gradient > 0).tolist() == [[False, False, False, True, False]] * 2


def test_the_encoder_and_critics_do_not_feel_the_actors_loss() -> None:
    # Without discount the actor and the temperature have no part in the critics' targets.
    agents = [scalar_agent(action_space=DISCRETE, discount=0.0, initial_temperature=start) for start in (0.1, 5.0)]
    nn.init.normal_(agents[1].actor.network[-1].bias)
    batch = random_batch(action_space=DISCRETE)
    for agent in agents:
        agent.update(batch, generator(0))
    first, second = map(state, agents)
    kept = [name for name in first if name.startswith(("encoder", "critics"))]
    assert_identical([second[name] for name in kept], [first[name] for name in kept])
    assert not torch.equal(first["actor.network.0.weight"], second["actor.network.0.weight"])


@pytest.mark.parametrize(
    ("space", "n_actions"), [(DISCRETE, 5), (MULTI_DISCRETE, 6), (gym.spaces.MultiBinary(3), 8)], ids=str
)
def test_the_target_entropy_is_three_tenths_of_the_largest_where_none_is_given(
    space: gym.Space[Any], n_actions: int
) -> None:
    assert pearl_agent(action_space=space).target_entropy == pytest.approx(0.3 * math.log(n_actions))
    assert pearl_agent(action_space=space, target_entropy=0.25).target_entropy == 0.25


@pytest.mark.parametrize(("target_entropy", "direction"), [(5.0, 1.0), (0.0, -1.0)])
def test_the_temperature_rises_while_the_entropy_is_under_its_target_and_falls_over_it(
    target_entropy: float, direction: float
) -> None:
    reports = learn(pearl_agent(action_space=DISCRETE, target_entropy=target_entropy), 5)
    assert all(0.0 < float(report["entropy"]) < math.log(5) + 1e-6 for report in reports)
    assert all(direction * step > 0 for step in np.diff([float(report["temperature"]) for report in reports]))


def test_in_running_units_the_temperature_is_fixed_unless_a_target_entropy_is_given() -> None:
    def moves(agent: PEARLAgent) -> bool:
        temperatures = [float(report["temperature"]) for report in learn(agent, 3)]
        return len(set(temperatures)) > 1

    agent = pearl_agent(action_space=DISCRETE)
    assert not moves(agent)
    assert float(agent.log_temperature.exp()) == pytest.approx(0.03)
    assert not moves(pearl_agent(action_space=DISCRETE, temperature=0.2))
    assert moves(pearl_agent(action_space=DISCRETE, target_entropy=0.5))
    assert moves(scalar_agent(action_space=DISCRETE))
    assert moves(pearl_agent())


def bandit_batch(number: int) -> MetaBatch:
    """One-step episodes of 8 tasks: in the even ones action 0 is the one that pays, in the odd ones action 1."""
    context, data = (
        random_transitions(8, steps, seed=2 * number + part, action_space=TWO) for part, steps in enumerate((8, 16))
    )
    pays = torch.tensor([0.0, 1.0]).repeat(4).unsqueeze(1)
    context, data = (part._replace(reward=(part.action[..., 0] == pays).float()) for part in (context, data))
    return MetaBatch(as_context(context), data._replace(terminated=torch.ones(8, 16)))


@pytest.mark.parametrize("make", [pearl_agent, scalar_agent])
def test_the_policy_becomes_greedy_for_the_action_that_the_context_says_pays(make: Callable[..., PEARLAgent]) -> None:
    agent = make(action_space=TWO, learning_rate=1e-2, kl_weight=0.0, temperature=0.05)
    known = bandit_batch(999).transitions
    every = torch.ones(8, 16, dtype=torch.bool)
    agent.see(Trials(known, known.reward, ended=every, mask=every, extras={}))
    for number in range(150):
        agent.update(bandit_batch(number), generator(number))
    memory = agent.begin(8, generator(0))
    with torch.no_grad():
        memory = memory._replace(z_mean=agent.encoder.posterior(agent.infer(bandit_batch(1000).context)).mean)
    for number in range(20):
        observation = torch.randn(8, OBSERVATION_DIM, generator=generator(number))
        actions = agent.act(observation, memory, all_of(8, True), generator(0)).action
        assert actions.flatten().tolist() == [0.0, 1.0] * 4
