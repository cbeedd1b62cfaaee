"""A belief that takes in single transitions in NumPy is the one that PyTorch gives."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch

from agents import PEARLAgent, PEARLMemory
from tests.support.agent_tester import (
    DISCRETE,
    MULTI_DISCRETE,
    all_of,
    at_step,
    generator,
    learn,
    pearl_agent,
    random_transitions,
    whole_trials,
)

N_TASKS, STEPS = 3, 8
KINDS: list[dict[str, Any]] = [
    {},
    {"action_space": DISCRETE},
    {"action_space": MULTI_DISCRETE},
    {"observations": {"ignored": (1,)}},
    {"reward_scale": 1.0},
    {"reward_scale": 1.0, "observations": {"normalise": False}},
]


def agent_of(seed: int = 0, kind: str = "linear_gaussian", **settings: Any) -> PEARLAgent:
    """An agent that has seen trials."""
    agent = pearl_agent(seed, kind=kind, **settings)
    agent.see(whole_trials(seed, action_space=agent.action_space))
    return agent


def observed(agent: PEARLAgent, *, kept: float = 1.0, numpy: bool = True, scale: float = 1.0) -> PEARLMemory:
    """The memory after some steps; the third task plays only every other one."""
    agent = agent.following(kept)
    if not numpy:
        agent = deepcopy(agent)
        agent.following_in_numpy._pooling = None
    transitions = random_transitions(N_TASKS, STEPS, action_space=agent.action_space)
    transitions = transitions._replace(reward=scale * transitions.reward)
    memory = agent.begin(N_TASKS, generator(0))
    for step in range(STEPS):
        memory = agent.observe(memory, at_step(transitions, step), torch.tensor([True, True, step % 2 == 0]))
        if step == 4:
            memory = agent.end_episode(memory, all_of(N_TASKS, True), generator(1))
    return memory


def assert_alike(agent: PEARLAgent, **options: Any) -> None:
    found, expected = (observed(agent, numpy=numpy, **options) for numpy in (True, False))
    for name in ("belief", "z", "z_mean", "steps"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("kept", [1.0, 0.9])
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_followed_belief_is_that_of_pytorch(settings: dict[str, Any], kept: float) -> None:
    assert_alike(agent_of(**settings), kept=kept)


@pytest.mark.parametrize("limit", [math.inf, 3.0])
@pytest.mark.parametrize("kept", [1.0, 0.9])
@pytest.mark.parametrize("kind", ["product_of_gaussians", "pooled_features", "max_pooled_features", "mean"])
def test_every_pooled_belief_is_that_of_pytorch(kind: str, kept: float, limit: float) -> None:
    if kind == "max_pooled_features" and kept < 1:
        pytest.skip("a maximum cannot be forgotten")
    agent = agent_of(kind=kind)
    assert agent.following_in_numpy.possible
    agent.encoder.evidence_limit = limit
    assert_alike(agent, kept=kept)


@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_other_encoders_are_left_to_pytorch(kind: str) -> None:
    assert not agent_of(kind=kind).following_in_numpy.possible


def test_z_sweeps_as_in_pytorch() -> None:
    assert_alike(agent_of(exploration={"sweep": 0.05}))


@pytest.mark.parametrize("fields", [("reward",), ("reward", "observation"), ("next_observation", "action")])
def test_fields_are_read_in_the_order_of_the_encoder(fields: tuple[str, ...]) -> None:
    agent = agent_of()
    agent.encoder.context_fields = fields
    agent.encoder.network[0] = torch.nn.Linear(agent.encoder.input_dim, 16)
    agent = deepcopy(agent)
    assert_alike(agent)


def test_evidence_is_bounded_alike() -> None:
    agent = agent_of()
    agent.encoder.evidence_limit = 3.0
    assert_alike(agent)
    assert_alike(agent, kept=0.8)


def test_long_measurements_and_large_rewards_are_cut_alike() -> None:
    agent = agent_of(reward_scale=1.0)
    with torch.no_grad():
        agent.encoder.network[-1].weight.mul_(1e5)
    assert_alike(agent, scale=1e6)


def relearnt(agent: PEARLAgent) -> PEARLAgent:
    learn(agent, 1)
    return agent


def seeing_more(agent: PEARLAgent) -> PEARLAgent:
    agent.see(whole_trials(7, action_space=agent.action_space))
    return agent


def loaded(agent: PEARLAgent) -> PEARLAgent:
    agent.load_state_dict(agent_of(5).state_dict())
    return agent


def copied(agent: PEARLAgent) -> PEARLAgent:
    other = deepcopy(agent)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.zero_()
    return other


@pytest.mark.parametrize("change", [relearnt, seeing_more, loaded, copied])
def test_weights_and_units_are_the_agents_own_after(change: Any) -> None:
    agent = agent_of()
    observed(agent)
    assert_alike(change(agent))


def test_memories_that_were_left_stay_as_they_were() -> None:
    agent = agent_of().following()
    transitions = random_transitions(N_TASKS, 2)
    memory = agent.begin(N_TASKS, generator(0))
    first = agent.observe(memory, at_step(transitions, 0), all_of(N_TASKS, True))
    before = [tensor.clone() for tensor in (*first.belief, first.z, first.z_mean)]
    agent.observe(first, at_step(transitions, 1), all_of(N_TASKS, True))
    assert all(map(torch.equal, before, (*first.belief, first.z, first.z_mean)))


@pytest.mark.filterwarnings("error")
def test_the_largest_numbers_give_no_warning() -> None:
    agent = agent_of().following()
    transitions = random_transitions(N_TASKS, 2)
    memory = agent.begin(N_TASKS, generator(0))
    largest = transitions._replace(
        reward=torch.full_like(transitions.reward, 3e38),
        observation=torch.full_like(transitions.observation, -3e38),
        next_observation=torch.full_like(transitions.observation, 3e38),
    )
    for step in range(2):
        memory = agent.observe(memory, at_step(largest, step), all_of(N_TASKS, True))
    assert memory.z.isfinite().all()
