"""Recurrent soft actor-critic: what it remembers, and what its losses are made of."""

from typing import Any

import pytest
import torch
from torch import Tensor

from agents import RecurrentSACAgent, TrialBatch
from agents.losses import trial_bellman_target
from agents.types import episode_begins
from tests.support.agent_tester import (
    KEPT_TRIAL_LEARNERS,
    OBSERVATION_DIM,
    MakeAgent,
    all_of,
    assert_identical,
    at_step,
    generator,
    play,
    random_transitions,
    random_trials,
    recurrent_sac_agent,
    state,
)
from tests.support.trials import forget_unit, one_trial, played, without_terminations

CRITIC_PARTS = ("critic_memory", "critics")
ACTOR_PARTS = ("memory", "actor")


@pytest.fixture(params=list(KEPT_TRIAL_LEARNERS.values()), ids=list(KEPT_TRIAL_LEARNERS))
def make(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


def scalar_agent(seed: int = 0, **settings: Any) -> RecurrentSACAgent:
    """An agent whose critics' values depend on their inputs from the first step on."""
    return recurrent_sac_agent(seed, **{"reward_scale": 1.0, **settings})


def gradients(agent: RecurrentSACAgent, *parts: str) -> list[Tensor]:
    """The gradients of the parts' parameters, all of which must have one."""
    found = []
    for part in parts:
        for parameter in agent.get_submodule(part).parameters():
            assert parameter.grad is not None
            found.append(parameter.grad.clone())
    return found


def test_a_trials_targets_equal_the_numbers_worked_out_by_hand() -> None:
    reward = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    value = torch.tensor([[10.0, 20.0, 30.0], [40.0, 50.0, 0.0]])
    ended = torch.tensor([[False, True, False], [False, False, False]])
    for cut, second in ((None, 2.0 + 0.5 * 30.0), (ended, 2.0)):
        found = trial_bellman_target(reward, value, 0.5, ended=cut)
        torch.testing.assert_close(found[0], torch.tensor([1.0 + 0.5 * 20.0, second, 3.0]))
        torch.testing.assert_close(found[1, :2], torch.tensor([4.0 + 0.5 * 50.0, 5.0]))


@pytest.fixture
def three_steps() -> TrialBatch:
    """A trial of two episodes of two steps, the first of which terminated and the second is cut short."""
    mask = torch.tensor([[True, True, True, False]])
    return random_trials(tasks=1, steps=4, episode=2)._replace(
        training_reward=torch.tensor([[1.0, -2.0, 3.0, 99.0]]),
        terminated=torch.tensor([[False, True, False, True]]),
        mask=mask,
        learnt=mask,
    )


def assert_critic_loss(batch: TrialBatch, targets: list[float], **settings: Any) -> None:
    """Check the loss of a critic of one bias, which says 7 of every step whatever is remembered, as its target does.

    With temperature 0 a step's value is 7 too, and the loss half the mean of the squares.
    """
    agent = recurrent_sac_agent(n_critics=1, discount=0.5, temperature=0.0, reward_scale=2.0, **settings)
    for critics in (agent.critics, agent.target_critics):
        critics.weights[-1].data.zero_()
        critics.biases[-1].data.fill_(7.0)
    expected = 0.5 * sum((7.0 - target) ** 2 for target in targets) / len(targets)
    assert agent.update(batch, generator(0))["critic_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_the_critics_learn_from_what_they_say_of_the_next_step_across_episodes_and_of_nothing_after_the_trial(
    three_steps: TrialBatch,
) -> None:
    assert_critic_loss(three_steps, [2.0 * 1.0 + 0.5 * 7.0, 2.0 * -2.0 + 0.5 * 7.0, 2.0 * 3.0])


def test_a_value_ends_at_a_termination_where_it_is_asked_to_and_not_at_a_time_limit(three_steps: TrialBatch) -> None:
    limited = three_steps._replace(terminated=torch.zeros_like(three_steps.terminated))
    for batch, value in ((three_steps, 0.0), (limited, 7.0)):
        targets = [2.0 * 1.0 + 0.5 * 7.0, 2.0 * -2.0 + 0.5 * value, 2.0 * 3.0]
        assert_critic_loss(batch, targets, value_ends_at_termination=True)


def test_a_step_that_is_read_alone_gives_the_one_before_it_its_value_and_is_in_no_loss(three_steps: TrialBatch) -> None:
    part = three_steps._replace(learnt=torch.tensor([[True, True, False, False]]))
    assert_critic_loss(part, [2.0 * 1.0 + 0.5 * 7.0, 2.0 * -2.0 + 0.5 * 7.0])
    changed = part._replace(training_reward=part.training_reward + torch.tensor([0.0, 0.0, 5.0, 5.0]))
    one, other = (scalar_agent().update(batch, generator(0)) for batch in (part, changed))
    assert one == other
    whole = scalar_agent().update(three_steps, generator(0))
    assert all(whole[name] != one[name] for name in ("critic_loss", "actor_loss", "q_mean", "entropy"))


def test_the_targets_come_of_the_target_networks() -> None:
    plain, other = scalar_agent(), scalar_agent()
    for parameter in other.target_critic_memory.parameters():
        parameter.data.mul_(3.0)
    found = [agent.update(random_trials(), generator(0)) for agent in (plain, other)]
    assert found[0]["critic_loss"] != found[1]["critic_loss"]
    assert found[0]["actor_loss"] == found[1]["actor_loss"]


def test_what_is_learnt_from_is_the_training_reward_and_what_is_read_the_true_one() -> None:
    batch, shown, learnt = random_trials(), scalar_agent(), scalar_agent()
    elsewhere = torch.where(batch.mask, batch.reward + 1.0, 0.0)
    plain = scalar_agent().update(batch, generator(0))
    read_otherwise = shown.update(batch._replace(reward=elsewhere), generator(0))
    taught_otherwise = learnt.update(batch._replace(training_reward=elsewhere), generator(0))
    assert read_otherwise["q_mean"] != plain["q_mean"]
    assert taught_otherwise["q_mean"] == plain["q_mean"]
    assert taught_otherwise["critic_loss"] != plain["critic_loss"]
    assert taught_otherwise["actor_loss"] == plain["actor_loss"]


def test_acting_step_by_step_is_what_learning_reads_in_whole_trials(make: MakeAgent) -> None:
    agent = make(0)
    trials, _ = played(agent, 0, lambda action: action[:, 0], tasks=3, steps=9, episode=4)
    transitions, begins = trials.transitions, episode_begins(trials.ended).unsqueeze(-1).float()
    with torch.no_grad():
        features, action = agent.features(transitions.observation), agent.actions.encode(transitions.action)
        remembered = agent.memory(agent.memory_inputs(features, action, transitions.reward, begins))
    rng, memory = generator(0), agent.begin(3, generator(0))
    for step in range(9):
        torch.testing.assert_close(memory.state, remembered[:, step], rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            policy = agent.actor(features[:, step], remembered[:, step])
        chosen = agent.act(transitions.observation[:, step], memory, all_of(3, True), rng).action
        torch.testing.assert_close(chosen, agent.actions.choose(policy, all_of(3, True), rng), rtol=1e-4, atol=1e-4)
        memory = agent.observe(memory, at_step(transitions, step), all_of(3, True))
        if (step + 1) % 4 == 0:
            memory = agent.end_episode(memory, all_of(3, True), rng)
    torch.testing.assert_close(memory.state, remembered[:, 9], rtol=1e-4, atol=1e-5)


def test_what_an_episode_taught_outlasts_it_and_a_new_trial_knows_nothing_of_it(make: MakeAgent) -> None:
    agent = make(0)
    fresh = agent.begin(3, generator(0))
    scripts = [random_transitions(3, 4, seed=seed, action_space=agent.action_space) for seed in (1, 2)]
    memories = [play(agent, fresh, script)[1] for script in scripts]
    for memory in memories:
        ended = agent.end_episode(memory, all_of(3, True), generator(0))
        assert_identical(ended.state, memory.state)
        assert bool((ended.begins == 1.0).all())
    observation = torch.randn(3, OBSERVATION_DIM, generator=generator(3))
    with torch.no_grad():
        policies = [agent.actor(agent.features(observation), memory.state)[0] for memory in memories]
    assert (policies[0] - policies[1]).abs().min() > 1e-6
    assert_identical(agent.begin(3, generator(1)), fresh)
    assert float(fresh.state.abs().max()) == 0.0


def test_padding_changes_nothing_of_what_is_learnt(make: MakeAgent) -> None:
    plain, padded = make(0), make(0)
    batch = random_trials(action_space=plain.action_space)
    rubbish = random_trials(seed=9, tasks=3, action_space=plain.action_space)
    wider = TrialBatch(*(torch.cat([field, other], 1) for field, other in zip(batch, rubbish, strict=True)))
    mask = torch.cat([batch.mask, torch.zeros_like(rubbish.mask)], 1)
    wider = wider._replace(mask=mask, learnt=mask)
    for agent, given in ((plain, batch), (padded, wider)):
        agent.update(given, generator(1))
    for (name, one), (_, other) in zip(plain.named_parameters(), padded.named_parameters(), strict=True):
        if one.grad is None:
            assert other.grad is None
            assert "target" in name or not one.requires_grad
        else:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


def test_each_loss_moves_its_own_networks_alone(make: MakeAgent) -> None:
    """The critics' gradient is that of their loss without an actor's, and the other way round."""
    agent = make(0)
    batch = random_trials(action_space=agent.action_space)
    agent.update(batch, generator(0))  # Before it, no logit of a categorical critic depends on its input.
    losses = agent._losses(batch, torch.tensor(0.1), generator(0))
    own = [parameter for part in (*CRITIC_PARTS, *ACTOR_PARTS) for parameter in agent.get_submodule(part).parameters()]
    critics = torch.autograd.grad(losses.critic, own, retain_graph=True, allow_unused=True)
    n_critic = sum(1 for part in CRITIC_PARTS for _ in agent.get_submodule(part).parameters())
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in critics[:n_critic])
    assert all(gradient is None for gradient in critics[n_critic:])
    actor = torch.autograd.grad(losses.actor, own, allow_unused=True)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in actor[n_critic:])
    # The actor's loss goes through the critics' heads, whose parameters nobody asks it for, but not to their memory.
    memory = len(list(agent.critic_memory.parameters()))
    assert all(gradient is None for gradient in actor[:memory])


def test_the_actors_loss_does_not_change_the_critics() -> None:
    """Another temperature, and so another actor's loss, leaves the critics' gradient as it is where no value counts."""
    found = []
    for temperature in (0.0, 5.0):
        agent = recurrent_sac_agent(temperature=temperature, discount=0.0)
        agent.update(random_trials(), generator(0))
        found.append((gradients(agent, *CRITIC_PARTS), gradients(agent, *ACTOR_PARTS)))
    assert_identical(found[1][0], found[0][0])
    assert any(not torch.equal(one, other) for one, other in zip(found[0][1], found[1][1], strict=True))


def test_the_targets_follow_by_their_share() -> None:
    agent = scalar_agent(target_update_rate=0.25)
    before = state(agent)
    agent.update(random_trials(), generator(0))
    after = state(agent)
    for name in [name for name in after if name.startswith("target_")]:
        leader = after[name.removeprefix("target_")]
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * leader)
        assert not torch.equal(after[name], before[name])


@pytest.mark.parametrize(("temperature", "moves"), [(None, True), (0.3, False)])
def test_a_temperature_is_learnt_unless_it_is_given(temperature: float | None, moves: bool) -> None:
    agent = recurrent_sac_agent(temperature=temperature)
    before = agent.log_temperature.exp().item()
    assert before == pytest.approx(0.01 if temperature is None else temperature)
    assert agent.update(random_trials(), generator(0))["temperature"].item() == pytest.approx(before)
    assert (agent.log_temperature.exp().item() != before) == moves


def test_a_trial_of_one_step_is_learnt_from() -> None:
    agent = recurrent_sac_agent()
    batch = random_trials(tasks=2, steps=3)
    metrics = agent.update(TrialBatch(*(field[:1, :1] for field in batch)), generator(0))
    assert all(value.isfinite() for value in metrics.values())


def test_a_batchs_field_of_the_wrong_shape_is_named() -> None:
    batch = random_trials()
    for field, wrong in (
        ("observation", torch.zeros(3, 8, OBSERVATION_DIM + 1)),
        ("action", torch.zeros(3, 8, 7)),
        ("reward", torch.zeros(3, 8, 1)),
        ("training_reward", torch.zeros(3, 7)),
        ("ended", torch.zeros(8, dtype=torch.bool)),
        ("learnt", torch.zeros(8, 3, dtype=torch.bool)),
    ):
        with pytest.raises(ValueError, match=rf"^TrialBatch\.{field} must have the shape \(3, 8.*, got "):
            recurrent_sac_agent().update(batch._replace(**{field: wrong}), generator(0))


def test_an_agent_learns_which_action_pays(make: MakeAgent) -> None:
    agent = make(0)
    forget_unit(agent)
    agent.set_learning_rate(3e-3)
    earned = []
    for number in range(20):
        trials, _ = played(agent, number, lambda action: action[:, 0], tasks=16, steps=6, episode=3)
        trials = without_terminations(trials)
        earned.append(trials.training_reward.mean().item())
        agent.see(trials)
        batch = TrialBatch(
            *trials.transitions[:3],
            training_reward=trials.training_reward,
            ended=trials.ended,
            terminated=trials.transitions.terminated.bool(),
            mask=trials.mask,
            learnt=trials.mask,
        )
        for _ in range(8):
            agent.update(batch, generator(number))
    scripted = random_transitions(500, 1, action_space=agent.action_space).action[..., 0]
    assert sum(earned[-3:]) / 3 > earned[0] + 0.3 * (scripted.max().item() - earned[0])


@pytest.mark.parametrize("ends", [False, True])
def test_values_in_running_units_go_on_at_the_returns_mean_after_a_time_limit_and_at_nothing_after_a_termination(
    ends: bool, three_steps: TrialBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = recurrent_sac_agent(n_critics=1, discount=0.5, temperature=0.0, value_ends_at_termination=ends)
    returns = one_trial([3.0, 7.0], ended=[True, True], terminated=[True, True])
    agent.value_scale.see(returns, 0.5)  # Of mean 5 and deviation 2; so values count from 2.5 deviations.
    targets: list[Tensor] = []

    def noted(*given: Any) -> tuple[Tensor, Tensor]:
        targets.append(given[4])
        return critic_loss(*given)

    critic_loss = agent.actions.critic_loss
    monkeypatch.setattr(agent.actions, "critic_loss", noted)
    agent._losses(three_steps, torch.tensor(0.0), generator(0))
    after_termination = 0.0 if ends else 0.5 * 2.5  # New critics answer the mean, 0.
    expected = [0.5 * 1.0 + 0.5 * 2.5 - 2.5, 0.5 * -2.0 + after_termination - 2.5, 0.5 * 3.0 + 0.5 * 2.5 - 2.5]
    torch.testing.assert_close(targets[0][0], torch.tensor(expected))
    last = three_steps._replace(terminated=torch.tensor([[False, True, True, True]]))
    agent._losses(last, torch.tensor(0.0), generator(0))
    torch.testing.assert_close(targets[1][0, 2], torch.tensor(0.5 * 3.0 - 2.5))
