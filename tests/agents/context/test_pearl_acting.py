"""How PEARL acts and remembers: z, the belief, the action's units."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents import PEARLAgent, PEARLMemory, Transitions
from agents.context.memory import MAX_UNREAD
from agents.networks.actions import ContinuousActions, make_actions
from agents.networks.moments import CLIP
from encoders import Context
from tests.support.agent_tester import (
    ACTION_SPACE,
    HIGH,
    KINDS,
    LOW,
    OBSERVATION_DIM,
    all_of,
    as_context,
    at_step,
    generator,
    pearl_agent,
    random_transitions,
    scalar_agent,
    state,
    whole_trials,
)

AGENT = pearl_agent()
KEPT = {"z_follows_posterior": False}


def observe_all(agent: PEARLAgent, memory: PEARLMemory, transitions: Transitions) -> PEARLMemory:
    for step in range(transitions.reward.shape[1]):
        memory = agent.observe(memory, at_step(transitions, step), all_of(len(transitions.reward), True))
    return memory


def in_unit_actions(context: Context) -> Context:
    unit = (context.action - torch.from_numpy(LOW)) / torch.from_numpy(HIGH - LOW) * 2 - 1
    return context._replace(action=unit)


def test_the_first_episodes_z_is_a_sample_of_the_prior() -> None:
    memory = AGENT.begin(20_000, generator(0))
    torch.testing.assert_close(memory.z.mean(0), torch.zeros(3), rtol=0, atol=0.03)
    torch.testing.assert_close(memory.z.std(0), torch.ones(3), rtol=0, atol=0.03)
    assert torch.equal(memory.z_mean, torch.zeros(20_000, 3))


def test_a_kept_z_stays_within_an_episode() -> None:
    agent = pearl_agent(exploration=KEPT)
    begun = agent.begin(2, generator(0))
    memory = observe_all(agent, begun, random_transitions(2, 5))
    assert torch.equal(memory.z, begun.z)
    assert torch.equal(memory.z_mean, begun.z_mean)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_episodes_z_comes_from_the_posterior_given_exactly_the_first_episode(kind: str) -> None:
    agent, transitions = scalar_agent(kind=kind), random_transitions(2, 5)
    memory = observe_all(agent, agent.begin(2, generator(0)), transitions)
    memory = agent.end_episode(memory, all_of(2, True), generator(1))
    expected = agent.encoder.posterior(agent.encoder.encode(in_unit_actions(as_context(transitions))))
    torch.testing.assert_close(memory.z_mean, expected.mean, rtol=1e-4, atol=1e-5)
    many = agent.begin(20_000, generator(0))
    many = many._replace(belief=type(memory.belief)(*(v[:1].expand(20_000, *v.shape[1:]) for v in memory.belief)))
    z = agent.end_episode(many, all_of(20_000, True), generator(1)).z
    spread = expected.stddev[0].detach()
    torch.testing.assert_close(z.std(0), spread, rtol=0.03, atol=1e-6)
    assert ((z.mean(0) - expected.mean[0]).abs() <= 0.03 * spread + 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_in_running_units_the_encoder_reads_standardised_rewards_and_changes_over_their_root_mean_square(
    kind: str,
) -> None:
    agent, transitions, seen = pearl_agent(kind=kind), random_transitions(2, 5), whole_trials(1)
    agent.see(seen)
    observations, rewards = seen.transitions.observation[seen.mask], seen.transitions.reward[seen.mask]
    changes = seen.transitions.next_observation[seen.mask] - observations
    change = transitions.next_observation - transitions.observation
    read = Context(
        (transitions.observation - observations.mean(0)) / observations.std(0, correction=0),
        in_unit_actions(as_context(transitions)).action,
        (transitions.reward - rewards.mean()) / rewards.std(correction=0),
        change / changes.square().mean(0).sqrt(),
        torch.ones(2, 5, dtype=torch.bool),
    )
    expected = agent.encoder.posterior(agent.encoder.encode(read))
    found = agent.posterior(observe_all(agent, agent.begin(2, generator(0)), transitions))
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.stddev, expected.stddev, rtol=1e-4, atol=1e-5)


def test_running_units_clip_what_is_far_from_anything_seen() -> None:
    agent = pearl_agent()
    agent.see(whole_trials(1))
    assert agent.units is not None
    assert agent.units.rewards(torch.tensor([1e6, -1e6])).tolist() == [CLIP, -CLIP]
    assert agent.units.changes(torch.full((1, OBSERVATION_DIM), -1e6)).tolist() == [[-CLIP] * OBSERVATION_DIM]


def test_rewards_and_changes_that_never_varied_are_read_as_zero() -> None:
    agent, seen = pearl_agent(), whole_trials(1)
    still = seen.transitions._replace(
        reward=torch.full_like(seen.training_reward, 0.7), next_observation=seen.transitions.observation
    )
    agent.see(seen._replace(transitions=still))
    assert agent.units is not None
    assert agent.units.rewards(torch.tensor([0.7, 5.0])).tolist() == [0.0, 0.0]
    assert agent.units.changes(torch.ones(1, OBSERVATION_DIM)).tolist() == [[0.0] * OBSERVATION_DIM]


def test_adapting_leaves_the_running_units_as_they_are() -> None:
    agent = pearl_agent()
    agent.see(whole_trials(1))
    before = state(agent)
    memory = observe_all(agent, agent.begin(2, generator(0)), random_transitions(2, 5))
    agent.end_episode(memory, all_of(2, True), generator(1))
    assert {"units.reward.mean", "units.change.variance", "value_scale.mean", "features.mean"} <= set(before)
    assert all(torch.equal(state(agent)[name], value) for name, value in before.items())


def test_each_episodes_z_differs_from_the_one_before() -> None:
    memory = AGENT.begin(50, generator(0))
    later = AGENT.end_episode(memory, all_of(50, True), generator(1))
    assert ((later.z - memory.z).abs().amax(1) > 0.01).all()


@pytest.mark.parametrize("changed_step", range(6))
def test_each_episodes_z_depends_on_every_transition_before_it_and_on_none_after(changed_step: int) -> None:
    def zs(transitions: Transitions) -> list[Tensor]:
        memory, found = AGENT.begin(1, generator(0)), []
        for episode in range(3):
            found.append(memory.z)
            memory = observe_all(
                AGENT, memory, Transitions(*(v[:, 2 * episode : 2 * episode + 2] for v in transitions))
            )
            memory = AGENT.end_episode(memory, all_of(1, True), generator(episode))
        return [*found, memory.z]

    script, other = random_transitions(1, 6), random_transitions(1, 6)
    other.reward[:, changed_step] += 3.0
    for episode, (before, after) in enumerate(zip(zs(script), zs(other), strict=True)):
        assert torch.equal(before, after) == (changed_step >= 2 * episode)


def test_a_terminated_flag_is_no_part_of_the_context() -> None:
    script = random_transitions(2, 4)
    other = script._replace(terminated=1.0 - script.terminated)
    beliefs = [AGENT.fold(observe_all(AGENT, AGENT.begin(2, generator(0)), each)).belief for each in (script, other)]
    assert all(torch.equal(left, right) for left, right in zip(*beliefs, strict=True))


def test_the_posterior_is_read_from_everything_seen_so_far() -> None:
    transitions = random_transitions(2, 5)
    memory = observe_all(AGENT, AGENT.begin(2, generator(0)), transitions)
    whole = AGENT.encoder.posterior(AGENT.infer(as_context(transitions)))
    torch.testing.assert_close(AGENT.posterior(memory).mean, whole.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(AGENT.posterior(memory).stddev, whole.stddev, rtol=1e-4, atol=1e-5)


def test_acting_deterministically_is_the_policy_mean_at_the_posterior_mean_in_the_spaces_units() -> None:
    memory = observe_all(AGENT, AGENT.begin(4, generator(0)), random_transitions(4, 5))
    memory = AGENT.end_episode(memory, all_of(4, True), generator(1))
    observation = torch.randn(4, OBSERVATION_DIM)
    mean = AGENT.actor.network(torch.cat([observation, memory.z_mean], dim=1))[:, :2]
    expected = LOW + 0.5 * (np.tanh(mean.detach().numpy()) + 1.0) * (HIGH - LOW)
    found = AGENT.act(observation, memory, all_of(4, True), generator(2)).action
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    elsewhere = memory._replace(z=memory.z + 1.0)
    assert torch.equal(AGENT.act(observation, elsewhere, all_of(4, True), generator(2)).action, found)


def test_acting_otherwise_is_a_sample_of_the_policy_at_the_episodes_z() -> None:
    memory = AGENT.begin(1, generator(0))
    unused = torch.full((20_000, 3), float("nan"))
    many = AGENT.begin(20_000, generator(0))._replace(z=memory.z.expand(20_000, -1), z_mean=unused)
    observation = torch.randn(1, OBSERVATION_DIM)
    action = AGENT.act(observation.expand(20_000, -1), many, all_of(20_000, False), generator(1)).action
    unit = 2.0 * (action - torch.from_numpy(LOW)) / torch.from_numpy(HIGH - LOW) - 1.0
    policy = AGENT.actor(observation, memory.z)
    unsquashed = unit.clamp(-0.999999, 0.999999).atanh()
    torch.testing.assert_close(unsquashed.mean(0), policy.mean[0].detach(), rtol=0, atol=0.05)
    torch.testing.assert_close(unsquashed.std(0), policy.log_stddev[0].detach().exp(), rtol=0.05, atol=0)


def bounds() -> st.SearchStrategy[tuple[float, float]]:
    numbers = st.floats(-1e4, 1e4, width=32).filter(lambda value: value == 0 or abs(value) > 1e-4)
    return st.tuples(numbers, numbers).filter(lambda pair: pair[1] - pair[0] > 1e-3)


@settings(max_examples=50, derandomize=True, database=None)
@given(pairs=st.tuples(bounds(), bounds()), dtype=st.sampled_from([np.float32, np.float64]))
def test_no_action_leaves_its_own_dimensions_bounds_even_by_rounding(
    pairs: tuple[tuple[float, float], tuple[float, float]], dtype: Any
) -> None:
    low, high = np.array(pairs).T
    space = gym.spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
    agent = pearl_agent(action_space=space)
    memory = agent.begin(3, generator(0))
    for bias in (-50.0, -8.0, 0.0, 8.0, 50.0):
        torch.nn.init.constant_(agent.actor.network[-1].bias[:2], bias)
        for deterministic in (True, False):
            action = agent.act(torch.zeros(3, OBSERVATION_DIM), memory, all_of(3, deterministic), generator(1)).action
            assert all(space.contains(row) for row in action.numpy())
        if abs(bias) == 50.0:
            assert torch.equal(action, torch.tensor(low if bias < 0 else high, dtype=torch.float32).expand(3, 2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_boxes_of_any_float_type_give_single_precision_actions_that_can_be_observed(dtype: Any) -> None:
    agent = pearl_agent(action_space=gym.spaces.Box(LOW.astype(dtype), HIGH.astype(dtype), dtype=dtype))
    memory, transition = agent.begin(2, generator(0)), at_step(random_transitions(2, 1), 0)
    choice = agent.act(transition.observation, memory, all_of(2, False), generator(0))
    assert choice.action.dtype == torch.float32
    later = agent.fold(agent.observe(memory, transition._replace(action=choice.action), all_of(2, True)))
    before: Any = memory.belief
    after: Any = later.belief
    assert not torch.equal(after.weighted_mean, before.weighted_mean)


def test_loading_a_state_leaves_the_action_space_given_alone() -> None:
    space = gym.spaces.Box(LOW.copy(), HIGH.copy())
    narrow = pearl_agent(action_space=gym.spaces.Box(np.float32(-0.1), np.float32(0.1), (2,)))
    agent = pearl_agent(action_space=space)
    agent.load_state_dict(state(narrow))
    assert np.array_equal(space.low, LOW)
    assert np.array_equal(space.high, HIGH)


def test_a_context_of_another_action_width_is_refused_before_it_broadcasts() -> None:
    context = as_context(random_transitions(2, 3))
    with pytest.raises(ValueError, match=r"Context\.action must have the shape \(2, 3, 2\), got \(2, 3, 1\)"):
        AGENT.infer(context._replace(action=context.action[..., :1]))


def test_the_agents_widths_are_the_spaces() -> None:
    assert (AGENT.observation_dim, AGENT.action_dim, AGENT.latent_dim) == (OBSERVATION_DIM, 2, 3)
    assert AGENT.device == torch.device("cpu")
    assert ACTION_SPACE.contains(AGENT.actions.low.numpy())


def test_bounds_are_those_of_the_space_given_and_no_part_of_the_weights() -> None:
    assert AGENT.actions.low.tolist() == LOW.tolist()
    assert AGENT.actions.high.tolist() == HIGH.tolist()
    assert not [name for name in AGENT.state_dict() if name.startswith("actions")]


@pytest.mark.parametrize("kind", KINDS)
def test_putting_reading_off_changes_no_posterior_and_memory_holds_no_more_than_is_read_together(
    kind: str,
) -> None:
    agent = pearl_agent(kind=kind, exploration=KEPT)
    transitions = random_transitions(2, 2 * MAX_UNREAD + 5)
    late = at_once = agent.begin(2, generator(0))
    for step in range(transitions.reward.shape[1]):
        seen = (at_step(transitions, step), torch.tensor([True, step % 3 > 0]))
        late, at_once = agent.observe(late, *seen), agent.fold(agent.observe(at_once, *seen))
        assert len(late.unread) < MAX_UNREAD
        assert at_once.unread == ()
    assert len(late.unread) == 5
    torch.testing.assert_close(agent.posterior(late).mean, agent.posterior(at_once).mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(agent.posterior(late).stddev, agent.posterior(at_once).stddev, rtol=1e-4, atol=1e-5)


def test_a_transition_of_another_width_is_refused_when_it_is_observed() -> None:
    transition = at_step(random_transitions(2, 1), 0)
    with pytest.raises(ValueError, match=r"Transitions\.action must have the shape \(2, 2\), got \(2, 1\)"):
        AGENT.observe(
            AGENT.begin(2, generator(0)), transition._replace(action=transition.action[:, :1]), all_of(2, True)
        )


@pytest.mark.parametrize(
    ("active", "message"),
    [
        (torch.ones(2), r"active must be a bool tensor of shape \(task,\), got torch\.float32"),
        (all_of(3, True), r"Transitions\.observation must have the shape \(3, 3\), got \(2, 3\)"),
        (all_of(2, True).unsqueeze(1), r"Transitions\.observation must have the shape \(2, 1, 3\), got \(2, 3\)"),
    ],
)
def test_a_mask_that_is_not_one_flag_per_task_is_refused_when_it_is_given(active: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGENT.observe(AGENT.begin(2, generator(0)), at_step(random_transitions(2, 1), 0), active)


def test_actions_of_a_space_from_minus_one_to_one_are_the_networks_own() -> None:
    actions = make_actions(gym.spaces.Box(-1.0, 1.0, (2,)))
    assert isinstance(actions, ContinuousActions)
    rows = torch.tensor([[-1.0, 1.0], [0.1, -1e-9]])
    assert torch.equal(actions.encode(rows), rows)
    assert torch.equal(actions.decode(rows), rows)
