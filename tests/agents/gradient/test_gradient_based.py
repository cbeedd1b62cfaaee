"""MAML, FOMAML and Reptile: how a policy adapts within a trial, and how that is learnt."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev

from agents import Transitions, Trials
from agents.gradient.base import ROOM, AdaptationBatch, GradientAgent, GradientMemory, Parameters
from agents.gradient.maml import FOMAMLAgent, MAMLAgent
from agents.gradient.reptile import ReptileAgent
from agents.learning.ppo import standardised
from tests.support import trials as support
from tests.support.agent_tester import (
    GRADIENT_LEARNERS,
    MakeAgent,
    all_of,
    assert_identical,
    at_step,
    generator,
    maml_agent,
    maml_with,
    play,
    random_transitions,
    reptile_with,
    state,
)
from tests.support.trials import padded_trials

EPISODE = 3


@pytest.fixture(params=list(GRADIENT_LEARNERS.values()), ids=list(GRADIENT_LEARNERS))
def make(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


def played(
    agent: GradientAgent, seed: int = 0, *, tasks: int = 4, mirrored: bool = False
) -> tuple[Trials, GradientMemory]:
    """Trials of one episode more than adaptation takes; an action's first number is the reward.

    Where ``mirrored`` every second task takes it with the other sign.
    """
    sign = torch.tensor([1.0, -1.0] * tasks)[:tasks] if mirrored else torch.ones(tasks)
    return support.played(
        agent,
        seed,
        lambda action: sign * agent.actions.encode(action)[:, 0],
        tasks=tasks,
        steps=EPISODE * (agent.config.adaptations * agent.config.inner_episodes + 1),
        episode=EPISODE,
    )


def differs(one: Parameters, other: Parameters) -> Tensor:
    """Whether each task's parameters differ, (task,)."""
    rows = [(left != right).flatten(1).any(1) for left, right in zip(one, other, strict=True)]
    return torch.stack(rows).any(0)


def test_a_policy_adapts_after_so_many_episodes_of_its_own_task_and_then_stays() -> None:
    agent = maml_with(adaptations=2, inner_episodes=2)(0)
    memory = begun = agent.begin(2, generator(0))
    script = random_transitions(2, 9)
    adapted = []
    for step in range(9):
        memory = agent.observe(memory, at_step(script, step), all_of(2, True))
        before = memory.parameters
        memory = agent.end_episode(memory, torch.tensor([True, step % 2 == 1]), generator(0))
        adapted.append(differs(before, memory.parameters).tolist())
    assert [row[0] for row in adapted] == [False, True, False, True, False, False, False, False, False]
    assert [row[1] for row in adapted] == [False, False, False, True, False, False, False, True, False]
    assert memory.adapted.tolist() == [2, 2]
    assert (begun.adapted == 0).all()


def test_adaptation_learns_from_what_was_played_since_the_last_one_alone(agent: GradientAgent) -> None:
    observed = [random_transitions(2, 4, seed=seed, action_space=agent.action_space) for seed in (1, 2)]
    memory = agent.begin(2, generator(0))
    for script in observed:
        _, memory = play(agent, memory, script)
    again = agent.begin(2, generator(0))._replace(parameters=memory.parameters, adapted=memory.adapted)
    assert_identical(play(agent, memory, observed[0])[1].parameters, play(agent, again, observed[0])[1].parameters)


def test_there_is_room_for_long_episodes(agent: GradientAgent) -> None:
    steps = 2 * ROOM + 5
    script = random_transitions(2, steps, action_space=agent.action_space)
    _, memory = play(agent, agent.begin(2, generator(0)), script, episode_steps=1000)
    assert memory.length.tolist() == [steps, steps]
    for kept, given in zip(memory.transitions, script, strict=True):
        torch.testing.assert_close(kept[:, :steps], given, rtol=0, atol=0)
    later = agent.end_episode(memory, all_of(2, True), generator(0))
    assert differs(memory.parameters, later.parameters).all()


def test_one_reinforce_step_equals_the_mean_of_standardised_advantages_times_log_gradients() -> None:
    agent = maml_with(inner_learning_rate=0.3)(0)
    script = random_transitions(1, EPISODE)
    _, memory = play(agent, agent.begin(1, generator(0)), script, episode_steps=EPISODE)
    advantage, _ = agent.advantages(
        script,
        script.reward,
        torch.tensor([[False, False, True]]),
        torch.ones(1, 3, dtype=torch.bool),
        torch.zeros(1, 3),
    )
    policy = agent.policy(agent.features(script.observation))
    standard = (advantage - advantage.mean()) / advantage.std(correction=0)
    climbed = (policy.log_prob(agent.policy.head.to_sample(script.action)) * standard).mean()
    climbed.backward()
    for parameter, adapted in zip(agent.policy.parameters(), memory.parameters, strict=True):
        torch.testing.assert_close(adapted[0], parameter + 0.3 * parameter.grad, rtol=1e-4, atol=1e-6)


def test_learning_adapts_as_playing_did(agent: GradientAgent) -> None:
    """The log-probabilities of what was played after adaptations are those that acting noted."""
    if isinstance(agent, ReptileAgent):
        trials, memory = played(agent)
        adapted = agent.adaptations_before(trials)
        reached = agent.final_parameters(trials._replace(mask=trials.mask & (adapted < agent.config.adaptations)))
        for found, expected in zip(reached, memory.parameters, strict=True):
            torch.testing.assert_close(found, expected)
        return
    trials, _ = played(agent)
    metrics = agent.meta_loss(trials, *_advantages(agent, trials))
    assert metrics[2].item() < 1e-5


def test_the_baseline_knows_what_the_last_step_of_the_episode_earned_and_nothing_later(agent: GradientAgent) -> None:
    transitions = random_transitions(1, 6, action_space=agent.action_space)
    ended, adapted = torch.tensor([[False, False, True, False, False, True]]), torch.zeros(1, 6)
    with torch.no_grad():
        before = agent.values(transitions, ended, adapted)
        for step, changed in ((1, [2]), (2, []), (4, [5]), (5, [])):  # With steps 2 and 5 an episode ends.
            reward = transitions.reward.clone()
            reward[0, step] += 5.0
            after = agent.values(transitions._replace(reward=reward), ended, adapted)
            assert (after != before)[0].nonzero().flatten().tolist() == changed


def test_after_another_outer_step_playing_and_learning_no_longer_agree() -> None:
    agent = maml_with()(0)
    trials, _ = played(agent)
    agent.update(trials, generator(0))
    assert agent.meta_loss(trials, *_advantages(agent, trials))[2].item() > 1e-3


def small(kind: type[MAMLAgent] = MAMLAgent, **settings: Any) -> tuple[MAMLAgent, Trials]:
    """A small agent in float64 and trials of two tasks, for derivatives."""
    agent = maml_with(kind, hidden_sizes=(4,), inner_learning_rate=0.5, **settings)(0)
    trials, _ = played(agent, tasks=2)
    agent.double()
    doubled = Trials(
        Transitions(*(field.double() for field in trials.transitions)),
        trials.training_reward.double(),
        trials.ended,
        trials.mask,
        {name: extra.double() for name, extra in trials.extras.items()},
    )
    return agent, doubled


def _advantages(agent: GradientAgent, trials: Trials) -> tuple[Tensor, Tensor]:
    rewards = (trials.transitions.reward, trials.training_reward)
    adapted = agent.adaptations_before(trials)
    first, second = (
        agent.advantages(trials.transitions, reward, trials.ended, trials.mask, adapted)[0] for reward in rewards
    )
    return first, second


@pytest.mark.parametrize("settings", [{}, {"adaptations": 2, "inner_steps": 2}, {"inner_objective": "clipped"}])
def test_the_meta_gradient_equals_finite_differences(settings: dict[str, Any]) -> None:
    agent, trials = small(**settings)
    advantages = _advantages(agent, trials)

    def loss() -> Tensor:
        return agent.meta_loss(trials, *advantages)[0]

    loss().backward()
    for parameter in agent.policy.parameters():
        assert parameter.grad is not None
        values = parameter.data.view(-1)
        for entry in range(0, len(values), 3):
            before = values[entry].item()
            sides = []
            for shift in (1e-6, -1e-6):
                values[entry] = before + shift
                with torch.no_grad():
                    sides.append(loss().item())
            values[entry] = before
            slope = (sides[0] - sides[1]) / 2e-6
            assert parameter.grad.view(-1)[entry].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_a_task_weighs_the_same_however_long_its_episodes_are() -> None:
    agent, trials = small()
    mask = trials.mask.clone()
    mask[1, -2:] = False  # The second task's last episode is a step long.
    uneven, (inner, outer) = trials._replace(mask=mask), _advantages(agent, trials)
    each = [agent.meta_loss(uneven.of(task), inner[task], outer[task])[0] for task in torch.tensor([[0], [1]])]
    together = agent.meta_loss(uneven, inner, outer)[0]
    assert together.item() == pytest.approx(sum(loss.item() for loss in each) / 2, rel=1e-9)


def test_to_first_order_the_meta_gradient_lacks_the_second_derivatives_of_the_inner_loss_and_nothing_else() -> None:
    agent, trials = small()
    first_order, _ = small(FOMAMLAgent)
    inner, outer = _advantages(agent, trials)
    for each in (agent, first_order):
        each.meta_loss(trials.of(torch.tensor([0])), inner[:1], outer[:1])[0].backward()
    theta = torch.cat([parameter.detach().flatten() for parameter in agent.policy.parameters()])
    shapes = [parameter.shape for parameter in agent.policy.parameters()]

    def unflat(flat: Tensor) -> Parameters:
        parts = flat.split([shape.numel() for shape in shapes])
        return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))

    read = agent.features(trials.transitions.observation[:1])
    sample = agent.policy.head.to_sample(trials.transitions.action[:1])
    before = (agent.adaptations_before(trials) == 0)[:1]
    old = trials.extras["log_prob"][:1]
    batch = AdaptationBatch(read[0], sample[0], old[0], standardised(inner[:1], before, by_task=True)[0], before[0])

    def inner_loss(flat: Tensor) -> Tensor:
        return agent._inner_loss(unflat(flat), batch)

    def outer_loss(flat: Tensor) -> Tensor:
        ratio = (agent._policy(unflat(flat), read[0]).log_prob(sample[0]) - old[0]).exp()
        surrogate: Tensor = -(ratio * outer[0])[~before[0]].mean()
        return surrogate

    at_adapted = grad(outer_loss)(theta - 0.5 * grad(inner_loss)(theta))
    through = at_adapted - 0.5 * jacrev(grad(inner_loss))(theta) @ at_adapted
    for each, expected in ((agent, through), (first_order, at_adapted)):
        found = torch.cat([parameter.grad.flatten() for parameter in each.policy.parameters()])
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert (through - at_adapted).abs().max() > 1e-3 * at_adapted.abs().max()


def test_reptile_goes_the_way_that_the_tasks_went_on_average() -> None:
    agent = reptile_with(inner_steps=2)(0)
    trials, _ = played(agent)
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    reached = agent.final_parameters(trials)
    agent.optimizer = torch.optim.SGD(agent.parameters(), lr=0.25)
    metrics = agent.update(trials, generator(0))
    squares = torch.zeros(4)
    for start, ends, parameter in zip(before, reached, agent.policy.parameters(), strict=True):
        torch.testing.assert_close(parameter.data, start + 0.25 * (ends.mean(0) - start), rtol=1e-4, atol=1e-6)
        squares += (ends - start).square().flatten(1).sum(1)
    assert metrics["way"].item() == pytest.approx(squares.sqrt().mean().item(), rel=1e-4)


def test_learning_changes_every_weight_and_reports_its_gradient_steps(agent: GradientAgent) -> None:
    trials, _ = played(agent)
    before = state(agent)
    metrics = agent.update(trials, generator(1))
    passes = agent.config.epochs * agent.config.minibatches
    assert metrics["gradient_steps"].item() == passes + isinstance(agent, ReptileAgent)
    moved = {name for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in agent.named_parameters()}
    assert all(value.isfinite() and not value.requires_grad for value in metrics.values())


def test_padding_changes_nothing_of_what_is_learnt(make: MakeAgent) -> None:
    plain, padded = make(0), make(0)
    trials, _ = played(plain)
    plain.update(trials, generator(1))
    padded.update(padded_trials(trials), generator(1))
    for one, other in zip(plain.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("steps", [2, EPISODE, EPISODE + 1])
def test_trials_that_were_cut_short_are_learnt_from_without_harm(agent: GradientAgent, steps: int) -> None:
    trials, _ = played(agent)
    short = Trials(
        Transitions(*(field[:, :steps] for field in trials.transitions)),
        trials.training_reward[:, :steps],
        trials.ended[:, :steps],
        trials.mask[:, :steps],
        {name: extra[:, :steps] for name, extra in trials.extras.items()},
    )
    metrics = agent.update(short, generator(0))
    assert all(value.isfinite() for value in metrics.values())
    assert all(parameter.isfinite().all() for parameter in agent.parameters())


def test_a_bonus_in_every_step_and_another_unit_of_rewards_change_no_advantage_and_no_target() -> None:
    plain, _ = played(maml_agent())
    plain = plain._replace(transitions=plain.transitions._replace(terminated=torch.zeros_like(plain.training_reward)))
    found = []
    for factor, bonus in ((1.0, 0.0), (64.0, 0.0), (1.0, 1.0), (0.125, -0.25)):
        agent = maml_agent()
        transitions = plain.transitions._replace(reward=factor * plain.transitions.reward + bonus)
        trials = plain._replace(training_reward=transitions.reward, transitions=transitions)
        agent.see(trials)
        adapted = agent.adaptations_before(trials)
        found.append(agent.advantages(transitions, trials.training_reward, trials.ended, trials.mask, adapted))
    for advantages, targets in found[1:]:
        torch.testing.assert_close(advantages, found[0][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(targets, found[0][1], rtol=1e-4, atol=1e-4)


def test_an_agent_learns_to_adapt_where_no_one_action_pays_in_every_task() -> None:
    agent = maml_with(learning_rate=1e-2, inner_learning_rate=0.2, discount=0.5, inner_episodes=2)(0)
    gains = []
    for number in range(60):
        trials, _ = played(agent, number, tasks=24, mirrored=True)
        after = agent.adaptations_before(trials) > 0
        gains.append((trials.training_reward[after].mean() - trials.training_reward[~after].mean()).item())
        agent.update(trials, generator(number))
        agent.see(trials)
    assert sum(gains[-5:]) / 5 > sum(gains[:5]) / 5 + 0.2
