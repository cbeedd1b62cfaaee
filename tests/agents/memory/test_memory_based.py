"""RL² and transformer memory: what is remembered within a trial, and how it is learnt from."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from agents import Trials
from agents.learning.value_scale import RunningScale
from agents.memory.on_policy import MemoryAgent
from agents.memory.sequence_models import GRU, EmbeddedGRU, SequenceModel
from agents.memory.transformer import CausalTransformer
from tests.support import trials as support
from tests.support.agent_tester import (
    ACTION_SPACE,
    MEMORY_LEARNERS,
    OBSERVATION_DIM,
    MakeAgent,
    all_of,
    assert_identical,
    generator,
    play,
    random_transitions,
    rl2_agent,
    rl2_with,
    state,
    transformer_with,
    whole_trials,
)
from tests.support.trials import forget_unit, one_trial, padded_trials, without_terminations

MODELS: dict[str, SequenceModel[Any]] = {
    "gru": GRU(4, 6),
    "embedded-gru": EmbeddedGRU(4, 6),
    "transformer": CausalTransformer(4, width=8, layers=2, heads=2, window=20),
    "transformer-window": CausalTransformer(4, width=8, layers=3, heads=2, window=3),
    "transformer-one": CausalTransformer(4, width=8, layers=2, heads=1, window=1),
}


@pytest.fixture(params=list(MEMORY_LEARNERS.values()), ids=list(MEMORY_LEARNERS))
def make(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=list(MODELS.values()), ids=list(MODELS))
def model(request: pytest.FixtureRequest) -> SequenceModel[Any]:
    return request.param  # type: ignore[no-any-return]


def played(agent: MemoryAgent, seed: int = 0, *, tasks: int = 4) -> Trials:
    """Trials of three episodes of three steps; rewards are what the agent's actions earn."""
    return support.played(agent, seed, lambda action: action[:, 0], tasks=tasks, steps=9, episode=3)[0]


def test_reading_a_trial_at_once_equals_stepping_through_it(model: SequenceModel[Any]) -> None:
    transitions = torch.randn(2, 11, 4, generator=generator(0))
    with torch.no_grad():
        at_once, kept = model(transitions), model.begin(2)
        stepped = [model.output(kept)]
        for step in range(11):
            kept = model.step(kept, transitions[:, step])
            stepped.append(model.output(kept))
    torch.testing.assert_close(torch.stack(stepped, 1), at_once, rtol=1e-4, atol=1e-5)


def test_what_is_said_of_a_step_depends_on_what_came_before_it_alone(model: SequenceModel[Any]) -> None:
    transitions = torch.randn(1, 8, 4, generator=generator(0))
    changed = transitions.clone()
    changed[:, 5] += 1.0
    with torch.no_grad():
        before, after = model(transitions), model(changed)
    torch.testing.assert_close(after[:, :6], before[:, :6], rtol=0, atol=1e-6)
    assert (after[:, 6] - before[:, 6]).abs().max() > 1e-3


def test_a_window_of_one_layer_forgets_what_is_older() -> None:
    model = CausalTransformer(4, width=8, layers=1, heads=2, window=3)
    transitions = torch.randn(1, 8, 4, generator=generator(0))
    changed = transitions.clone()
    changed[:, 2] += 1.0
    with torch.no_grad():
        difference = (model(changed) - model(transitions)).abs().amax(-1)[0]
    assert (difference[3:6] > 1e-4).all()
    assert (difference[6:] < 1e-6).all()


def test_what_an_episode_taught_outlasts_it(agent: MemoryAgent) -> None:
    scripts = [random_transitions(3, 4, seed=seed, action_space=agent.action_space) for seed in (1, 2)]
    memories = [play(agent, agent.begin(3, generator(0)), script)[1] for script in scripts]
    observation = torch.randn(3, OBSERVATION_DIM, generator=generator(3))
    values = [agent.act(observation, memory, all_of(3, True), generator(0)).extras["value"] for memory in memories]
    assert (values[0] - values[1]).abs().min() > 1e-5


def test_a_new_trial_remembers_nothing_of_the_last_one(agent: MemoryAgent) -> None:
    fresh = agent.begin(3, generator(0))
    play(agent, fresh, random_transitions(3, 8, action_space=agent.action_space))
    assert_identical(agent.begin(3, generator(1)), fresh)


def test_learning_judges_the_very_samples_that_were_acted_on(agent: MemoryAgent) -> None:
    """Before anything was learnt their log-probabilities and values are those that acting noted."""
    trials = played(agent)
    ended = trials.ended
    before = torch.cat([torch.ones_like(ended[:, :1]), ended[:, :-1]], 1).unsqueeze(-1).float()
    with torch.no_grad():
        features = agent.features(trials.transitions.observation)
        action = agent.actions.encode(trials.transitions.action)
        remembered = agent.memory(agent.memory_inputs(features, action, trials.transitions.reward, before))[:, :-1]
        read = torch.cat([features, remembered], -1)
        log_prob = agent.policy(read).log_prob(trials.extras["sample"])
        value = agent._value(read)
    torch.testing.assert_close(log_prob, trials.extras["log_prob"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(value, trials.extras["value"], rtol=1e-4, atol=1e-4)


def test_learning_changes_every_weight_and_reports_its_gradient_steps(agent: MemoryAgent) -> None:
    before, trials = state(agent), played(agent)
    metrics = agent.update(trials, generator(1))
    assert metrics["gradient_steps"].item() == agent.config.epochs * agent.config.minibatches
    moved = {name for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in agent.named_parameters()}
    assert all(value.isfinite() and not value.requires_grad for value in metrics.values())


def test_padding_changes_nothing_of_what_is_learnt() -> None:
    for make in (rl2_with(epochs=1, minibatches=1), transformer_with(epochs=1, minibatches=1)):
        plain, padded = make(0), make(0)
        trials = played(plain)
        plain.update(trials, generator(1))
        padded.update(padded_trials(trials), generator(1))
        for one, other in zip(plain.parameters(), padded.parameters(), strict=True):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("by_task", [False, True])
def test_one_tasks_large_rewards_weigh_more_unless_each_task_is_standardised(by_task: bool) -> None:
    def learnt(factor: float) -> list[Tensor]:
        agent = rl2_with(epochs=1, minibatches=1, value_weight=0.0, standardised_by_task=by_task, reward_scale=1.0)(0)
        trials = played(agent)
        scale = torch.tensor([factor, 1.0, 1.0, 1.0]).unsqueeze(1)
        value = trials.extras["value"] * scale
        scaled = trials._replace(
            training_reward=trials.training_reward * scale, extras={**trials.extras, "value": value}
        )
        agent.update(scaled, generator(1))
        return [parameter.grad.clone() for parameter in agent.policy.parameters() if parameter.grad is not None]

    for one, other in zip(learnt(1.0), learnt(10.0), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6) == by_task


@pytest.mark.parametrize("ends", [False, True])
def test_what_comes_after_a_termination_counts_unless_the_value_ends_there(
    ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = rl2_with(value_ends_at_termination=ends, discount=0.9, gae_lambda=1.0, reward_scale=1.0)(0)
    trials = played(agent)
    terminated = torch.zeros(4, 9)
    terminated[:2, 2] = 1.0  # The first of three episodes, of half of the tasks; the other half's had a time limit.
    reward = torch.ones(4, 9)
    trials = trials._replace(transitions=trials.transitions._replace(terminated=terminated), training_reward=reward)
    seen: list[Tensor] = []

    def noted(trials: Trials, advantages: Tensor, returns: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(returns)
        return sum(parameter.sum() for parameter in agent.parameters()), {}

    monkeypatch.setattr(agent, "_loss", noted)
    monkeypatch.setattr(agent, "config", replace(agent.config, epochs=1, minibatches=1))
    agent.update(trials, generator(0))
    through, cut = (sum(0.9**step for step in range(length)) for length in (9, 3))
    found = seen[0][:, 0].sort().values
    expected = torch.tensor([cut, cut, through, through] if ends else [through] * 4)
    torch.testing.assert_close(found, expected)


def test_a_bonus_in_every_step_and_another_unit_of_rewards_change_no_advantage_and_no_target() -> None:
    plain = without_terminations(played(rl2_agent()))
    found = []
    for factor, bonus in ((1.0, 0.0), (64.0, 0.0), (1.0, 1.0), (0.125, -0.25)):
        agent = rl2_agent()
        trials = plain._replace(training_reward=factor * plain.training_reward + bonus)
        agent.see(trials)
        found.append(agent.advantages(trials))
    for advantages, targets in found[1:]:
        torch.testing.assert_close(advantages, found[0][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(targets, found[0][1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ends", [False, True])
def test_values_in_running_units_go_on_at_the_returns_mean_after_a_time_limit_and_at_nothing_after_a_termination(
    ends: bool,
) -> None:
    agent = rl2_agent(value_ends_at_termination=ends, discount=0.5, gae_lambda=1.0)
    agent.value_scale.see(one_trial([3.0, 7.0], ended=[True, True], terminated=[True, True]), 0.5)
    terminated = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    trials = whole_trials(tasks=2, steps=3)
    trials = trials._replace(
        transitions=trials.transitions._replace(terminated=terminated),
        training_reward=torch.tensor([[2.0, 4.0, 6.0], [2.0, 4.0, 6.0]]),
        extras={"value": torch.zeros(2, 3)},
        mask=torch.ones(2, 3, dtype=torch.bool),
    )
    _, targets = agent.advantages(trials)
    # The returns' mean is 5 and their deviation 2: rewards are 1, 2 and 3, and values count from 2.5.
    for found, last in zip(targets, (3.0 + 0.5 * 2.5, 3.0), strict=True):
        second = 2.0 if ends else 2.0 + 0.5 * last
        expected = torch.tensor([1.0 + 0.5 * second, second, last]) - 2.5
        torch.testing.assert_close(found, expected)


def test_the_statistics_are_those_of_trials_where_the_value_goes_on_through_them() -> None:
    trials = whole_trials(tasks=1, steps=8)._replace(mask=torch.ones(1, 8, dtype=torch.bool))
    means = {}
    for ends in (False, True):
        agent = rl2_agent(value_ends_at_termination=ends, discount=0.9)
        agent.see(trials)
        means[ends] = agent.value_scale.mean
    # Both episodes of four steps terminate.
    apart = RunningScale()
    apart.see(trials, 0.9)
    together = RunningScale()
    together.see(trials._replace(ended=torch.arange(8).eq(7).unsqueeze(0)), 0.9)
    assert (means[True], means[False]) == (apart.mean, together.mean)
    assert apart.mean != together.mean


def test_an_agent_learns_which_action_pays(make: MakeAgent) -> None:
    agent = make(0)
    forget_unit(agent)
    earned = []
    for number in range(25):
        trials = without_terminations(played(agent, number, tasks=16))
        earned.append(trials.training_reward.mean().item())
        agent.update(trials, generator(number))
        agent.see(trials)
    assert sum(earned[-3:]) / 3 > earned[0] + 0.3 * (most(agent) - earned[0])


def most(agent: MemoryAgent) -> float:
    """The largest reward that ``played`` gives: an action's first number."""
    if agent.action_space is ACTION_SPACE:
        return float(ACTION_SPACE.high[0])
    table: Tensor = agent.actions.table
    return table[:, 0].max().item()


def test_a_pass_is_at_most_so_many_gradient_steps_of_all_tasks_but_for_one() -> None:
    for minibatches, tasks, steps in ((4, 6, 4), (4, 9, 4), (8, 3, 3)):
        agent = rl2_with(epochs=2, minibatches=minibatches)(0)
        assert agent.update(played(agent, tasks=tasks), generator(0))["gradient_steps"].item() == 2 * steps
