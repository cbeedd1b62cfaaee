"""Every agent keeps the same promises; see agent_tester.AGENTS, REPLAY_LEARNERS and LEARNERS."""

from typing import Any

import numpy as np
import pytest
import torch

from agents import MetaBatch, PEARLAgent, Transitions
from agents.spaces import env_actions, is_discrete
from tests.support import agent_tester
from tests.support.agent_tester import (
    AGENTS,
    GRADIENT_LEARNERS,
    LEARNERS,
    OBSERVATION_DIM,
    REPLAY_LEARNERS,
    MakeAgent,
    all_of,
    assert_identical,
    at_step,
    batch_for,
    generator,
    learn,
    play,
    settled,
    snapshot,
    state,
    tensors,
)


def random_transitions(agent: Any, *shape: int, seed: int = 0) -> Transitions:
    return agent_tester.random_transitions(*shape, seed=seed, action_space=agent.action_space)


def random_batch(agent: Any) -> MetaBatch:
    return agent_tester.random_batch(action_space=agent.action_space)


@pytest.fixture(params=list(AGENTS.values()), ids=list(AGENTS))
def make(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=list(LEARNERS.values()), ids=list(LEARNERS))
def make_meta_learner(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=list(REPLAY_LEARNERS.values()), ids=list(REPLAY_LEARNERS))
def make_learner(request: pytest.FixtureRequest) -> MakeAgent:
    return request.param  # type: ignore[no-any-return]


def test_acting_gives_one_action_of_the_action_space_per_task(agent: Any) -> None:
    memory = agent.begin(5, generator(0))
    for deterministic in (False, True):
        choice = agent.act(torch.randn(5, OBSERVATION_DIM), memory, all_of(5, deterministic), generator(1))
        assert choice.action.shape == (5, agent.action_dim)
        assert choice.action.dtype == torch.float32
        space = agent.action_space
        assert all(space.contains(action) for action in env_actions(space, choice.action.numpy()))
        assert all(len(extra) == 5 for extra in choice.extras.values())


def test_a_memory_keeps_one_row_per_task_and_its_shapes_throughout_a_trial(agent: Any) -> None:
    begun = agent.begin(5, generator(0))
    _, later = play(agent, begun, random_transitions(agent, 5, 9))
    shapes = [(values.shape, values.dtype) for values in tensors(begun)]
    assert shapes == [(values.shape, values.dtype) for values in tensors(settled(agent, later))]
    assert all(values.shape[0] == 5 for values in (*tensors(begun), *tensors(later)))


def test_no_memory_keeps_a_gradient(agent: Any) -> None:
    memory = agent.begin(2, generator(0))
    assert not any(values.requires_grad for values in tensors(memory))
    actions, memory = play(agent, memory, random_transitions(agent, 2, 5))
    assert not any(values.requires_grad for values in (*tensors(memory), *actions))


def test_acting_and_observing_change_nothing_in_the_agent(agent: Any) -> None:
    before = state(agent)
    play(agent, agent.begin(2, generator(0)), random_transitions(agent, 2, 9))
    assert_identical(state(agent), before)
    assert all(parameter.grad is None for parameter in agent.parameters())


def test_no_memory_or_transition_is_modified_in_place(agent: Any) -> None:
    transitions, memory = random_transitions(agent, 2, 6), agent.begin(2, generator(0))
    given = [*snapshot(transitions), *snapshot(memory)]
    _, later = play(agent, memory, transitions)
    kept = snapshot(later)
    play(agent, later, transitions)
    assert_identical([*snapshot(transitions), *snapshot(memory)], given)
    assert_identical(snapshot(later), kept)


def test_observing_changes_the_memory_of_active_tasks_only(agent: Any) -> None:
    _, memory = play(agent, agent.begin(3, generator(0)), random_transitions(agent, 3, 3))
    active = torch.tensor([True, False, True])
    transition = at_step(random_transitions(agent, 3, 1, seed=1), 0)
    for values in transition:
        values[1] = float("nan")
    memory = settled(agent, memory)
    later = settled(agent, agent.observe(memory, transition, active))
    rows = list(zip(tensors(memory), tensors(later), strict=True))
    assert all(torch.equal(old[1], new[1]) for old, new in rows)
    assert any(not torch.equal(old[0], new[0]) for old, new in rows)
    assert any(not torch.equal(old[2], new[2]) for old, new in rows)
    assert all(values.isfinite().all() for values in tensors(later))


def test_ending_an_episode_changes_the_memory_of_tasks_that_ended_only(agent: Any) -> None:
    _, memory = play(agent, agent.begin(3, generator(0)), random_transitions(agent, 3, 3))
    memory = settled(agent, memory)
    later = agent.end_episode(memory, torch.tensor([False, True, False]), generator(1))
    for old, new in zip(tensors(memory), tensors(later), strict=True):
        assert torch.equal(old[[0, 2]], new[[0, 2]])
    assert_identical(agent.end_episode(memory, all_of(3, False), generator(1)), memory)


def test_one_tasks_transitions_do_not_change_what_another_does(agent: Any) -> None:
    transitions, other = random_transitions(agent, 3, 9), random_transitions(agent, 3, 9)
    for values, replacement in zip(other, random_transitions(agent, 3, 9, seed=1), strict=True):
        values[1] = replacement[1]
    actions, _ = play(agent, agent.begin(3, generator(0)), transitions)
    changed, _ = play(agent, agent.begin(3, generator(0)), other)
    assert_identical([action[[0, 2]] for action in changed], [action[[0, 2]] for action in actions])


@pytest.mark.parametrize("deterministic", [False, True])
def test_adapting_to_b_after_a_equals_adapting_to_b_fresh(make: MakeAgent, deterministic: bool) -> None:
    used, fresh = make(0), make(0)
    play(used, used.begin(2, generator(0)), random_transitions(used, 2, 9, seed=1), deterministic=deterministic)
    trials = [
        play(agent, agent.begin(2, generator(1)), random_transitions(agent, 2, 9, seed=2), deterministic=deterministic)
        for agent in (used, fresh)
    ]
    assert_identical(trials[0], trials[1])


def test_two_interleaved_trials_equal_the_two_played_apart(agent: Any) -> None:
    scripts = [random_transitions(agent, 2, 5, seed=seed) for seed in (1, 2)]
    memories = [agent.begin(2, generator(seed)) for seed in (1, 2)]
    for step in range(5):
        for trial, script in enumerate(scripts):
            memories[trial] = agent.observe(memories[trial], at_step(script, step), all_of(2, True))
    for trial, script in enumerate(scripts):
        _, apart = play(agent, agent.begin(2, generator(trial + 1)), script, episode_steps=99)
        assert_identical(memories[trial], apart)


def test_the_same_generator_gives_the_same_trial_and_another_gives_another(agent: Any) -> None:
    def trial(seed: int) -> tuple[list[torch.Tensor], Any]:
        return play(agent, agent.begin(2, generator(seed)), random_transitions(agent, 2, 9), seed=seed)

    first, again, other = trial(0), trial(0), trial(1)
    assert_identical(again, first)
    assert not all(torch.equal(left, right) for left, right in zip(first[0], other[0], strict=True))


def test_deterministic_acting_does_not_depend_on_the_generator(agent: Any) -> None:
    def trial(seed: int) -> list[torch.Tensor]:
        memory = agent.begin(2, generator(seed))
        return play(agent, memory, random_transitions(agent, 2, 9), seed=seed, deterministic=True)[0]

    assert_identical(trial(1), trial(0))


def test_each_task_is_deterministic_or_not_on_its_own(agent: Any) -> None:
    # Many tasks: of a few actions, two draws of one task are often the same.
    memory, observation = agent.begin(40, generator(0)), torch.randn(40, OBSERVATION_DIM)
    flags = torch.tensor([True, False]).repeat(20)
    mixed = [agent.act(observation, memory, flags, generator(seed)).action for seed in (1, 2)]
    greedy = agent.act(observation, memory, all_of(40, True), generator(3)).action
    assert torch.equal(mixed[0][flags], greedy[flags])
    assert torch.equal(mixed[1][flags], greedy[flags])
    assert not torch.equal(mixed[0][~flags], mixed[1][~flags])
    assert not torch.equal(mixed[0][~flags], greedy[~flags])


def test_the_same_generator_draws_the_same_initial_weights_and_another_draws_others(make: MakeAgent) -> None:
    first, again, other = state(make(0)), state(make(0)), state(make(1))
    assert_identical(again, first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_global_random_state_is_neither_used_nor_changed_by_acting(make: MakeAgent) -> None:
    trials = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        agent = make(0)
        trials.append(play(agent, agent.begin(2, generator(0)), random_transitions(agent, 2, 9)))
        assert torch.equal(torch.get_rng_state(), before)
        assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert_identical(trials[1], trials[0])


def test_making_an_agent_reseeds_no_other_device(make: MakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seed: int) -> None:
        raise AssertionError(f"every device's generator was seeded with {seed}")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    make(0)


def test_the_global_random_state_is_neither_used_nor_changed_by_learning(make_learner: MakeAgent) -> None:
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        agent = make_learner(0)
        results.append([learn(agent, 2), state(agent)])
        assert torch.equal(torch.get_rng_state(), before)
    assert_identical(results[1], results[0])


def test_another_generator_gives_another_update_where_z_or_actions_are_drawn(make_learner: MakeAgent) -> None:
    agents = [make_learner(0), make_learner(0)]
    for seed, agent in enumerate(agents):
        learn(agent, 1, rng=generator(seed))
    first, second = map(state, agents)
    draws = isinstance(agents[0], PEARLAgent) or not is_discrete(agents[0].action_space)
    assert any(not torch.equal(first[name], second[name]) for name in first) == draws


def test_learning_changes_every_learnt_parameter_and_keeps_all_finite(make_learner: MakeAgent) -> None:
    agent = make_learner(0)
    before = state(agent)
    reports = learn(agent, 3)
    after = state(agent)
    # The targets follow by a small share; a learned temperature is a single number: both move, if by little.
    unchanged = {name for name, _ in agent.named_parameters() if torch.equal(before[name], after[name])}
    temperature = getattr(agent, "log_temperature", None)
    assert unchanged == (set() if temperature is None or temperature.requires_grad else {"log_temperature"})
    assert all(value.isfinite().all() for value in after.values())
    assert all(value.isfinite().all() and value.shape == () for report in reports for value in report.values())
    assert not any(value.requires_grad for report in reports for value in report.values())


def test_learning_leaves_the_batch_as_it_was(make_learner: MakeAgent) -> None:
    agent = make_learner(0)
    batch = batch_for(agent)
    before = snapshot(batch)
    agent.update(batch, generator(0))
    assert_identical(batch, before)


def test_a_loaded_state_gives_equal_trials(make_learner: MakeAgent) -> None:
    agent, loaded = make_learner(0), make_learner(1)
    learn(agent, 2)
    loaded.load_state_dict(agent.state_dict())
    trials = [play(each, each.begin(2, generator(0)), random_transitions(each, 2, 9)) for each in (agent, loaded)]
    assert_identical(trials[1], trials[0])


def test_resuming_is_exact(make_learner: MakeAgent) -> None:
    through, first, resumed = make_learner(0), make_learner(0), make_learner(1)
    expected = learn(through, 6, rng=generator(0))
    rng = generator(0)
    learn(first, 3, rng=rng)
    learn(resumed, 1, first=100)
    resumed.load_state_dict(first.state_dict())
    resumed.optimizer.load_state_dict(first.optimizer.state_dict())
    later = torch.Generator()
    later.set_state(rng.get_state())
    assert_identical(learn(resumed, 3, first=3, rng=later), expected[3:])
    assert_identical(state(resumed), state(through))


def test_resuming_without_the_optimizers_state_differs(make_learner: MakeAgent) -> None:
    through, resumed = make_learner(0), make_learner(1)
    rng = generator(0)
    learn(through, 3, rng=rng)
    resumed.load_state_dict(through.state_dict())
    later = torch.Generator()
    later.set_state(rng.get_state())
    learn(through, 1, first=3, rng=rng)
    learn(resumed, 1, first=3, rng=later)
    first, second = state(through), state(resumed)
    assert any(not torch.equal(first[name], second[name]) for name in first)


WRONG = {
    "observation": (3, 8, OBSERVATION_DIM + 1),
    "action": (3, 8, 7),
    "reward": (3, 8, 1),
    "next_observation": (3, 7, OBSERVATION_DIM),
    "terminated": (8,),
}


@pytest.mark.parametrize(("field", "shape"), WRONG.items())
def test_a_batchs_field_of_the_wrong_shape_is_named(
    make_meta_learner: MakeAgent, field: str, shape: tuple[int, ...]
) -> None:
    agent = make_meta_learner(0)
    batch = random_batch(agent)
    wrong = batch._replace(transitions=batch.transitions._replace(**{field: torch.zeros(shape)}))
    with pytest.raises(ValueError, match=rf"^Transitions\.{field} must have the shape \(3, 8.*, got ") as raised:
        agent.update(wrong, generator(0))
    assert str(shape) in str(raised.value)


@pytest.mark.parametrize("field", ["observation", "action", "reward", "next_observation"])
def test_an_observed_field_of_the_wrong_shape_is_named(agent: Any, field: str) -> None:
    transition = at_step(random_transitions(agent, 2, 1), 0)
    values = getattr(transition, field)
    wrong = transition._replace(**{field: values.repeat(1, 2) if values.dim() > 1 else values.unsqueeze(1)})
    with pytest.raises(ValueError, match=rf"\.{field} must have the shape .*, got "):
        agent.observe(agent.begin(2, generator(0)), wrong, all_of(2, True))


@pytest.mark.parametrize(
    ("field", "shape"), [("observation", (3, 6, OBSERVATION_DIM + 1)), ("action", (3, 6, 7)), ("reward", (3, 6, 1))]
)
def test_a_contexts_field_of_the_wrong_shape_is_named(
    make_meta_learner: MakeAgent, field: str, shape: tuple[int, ...]
) -> None:
    agent = make_meta_learner(0)
    batch = random_batch(agent)
    wrong = batch._replace(context=batch.context._replace(**{field: torch.zeros(shape)}))
    with pytest.raises(ValueError, match=rf"^Context\.{field} must have the shape .*, got "):
        agent.update(wrong, generator(0))


def test_only_agents_that_adapt_by_gradient_take_gradient_steps_in_a_trial() -> None:
    steps = {name: make(0).gradient_steps_per_trial for name, make in AGENTS.items()}
    assert {name for name, count in steps.items() if count > 0} == set(GRADIENT_LEARNERS)
    assert (steps["maml"], steps["maml-twice"], steps["reptile"]) == (1, 4, 3)
