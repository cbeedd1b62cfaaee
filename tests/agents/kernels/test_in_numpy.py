"""Acting in NumPy gives PyTorch's actions, on weights that are the agent's own whatever becomes of them."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from agents import PEARLAgent
from tests.support.agent_tester import DISCRETE, OBSERVATION_DIM, generator, learn, pearl_agent

OBSERVATION = 3.0 * torch.randn(6, OBSERVATION_DIM, generator=generator(0))
KINDS: list[dict[str, Any]] = [
    {},
    {"hidden_sizes": (7, 5, 3)},
    {"observations": {"normalise": True}},
    {"observations": {"ignored": (1,)}},
    {"observations": {"normalise": True, "ignored": (0,)}},
    {"action_space": DISCRETE},
]


def in_pytorch(agent: PEARLAgent, flags: Tensor | None, seed: int) -> Tensor:
    memory = agent.begin(6, generator(1))
    z = memory.z if flags is None else torch.where(flags.unsqueeze(-1), memory.z_mean, memory.z)
    with torch.no_grad():
        return agent.actions.choose(
            agent.actor(agent.features(OBSERVATION), z), False if flags is None else flags, generator(seed)
        )


def in_numpy(agent: PEARLAgent, flags: Tensor | None, seed: int) -> Tensor:
    flags = torch.zeros(6, dtype=torch.bool) if flags is None else flags
    return agent.act(
        OBSERVATION, agent.begin(6, generator(1)), False if flags is None else flags, generator(seed)
    ).action


def seen(agent: PEARLAgent) -> PEARLAgent:
    if agent.config.observations.normalise:
        agent.features.see(torch.tensor([1.0, -2.0, 0.1]) * torch.randn(50, OBSERVATION_DIM, generator=generator(9)))
    return agent


@pytest.mark.parametrize("flags", [None, [True] * 6, [True, False] * 3], ids=["sampled", "greedy", "mixed"])
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_actions_are_those_that_pytorch_chooses(settings: dict[str, Any], flags: list[bool] | None) -> None:
    agent = seen(pearl_agent(**settings))
    chosen = None if flags is None else torch.tensor(flags)
    for seed in range(20):
        expected, found = in_pytorch(agent, chosen, seed), in_numpy(agent, chosen, seed)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert found.is_contiguous()


def test_far_observations_are_clipped_and_wide_policies_bounded() -> None:
    agent = seen(pearl_agent(observations={"normalise": True}))
    with torch.no_grad():
        agent.actor.network[-1].weight.mul_(1e3)
        agent.actor.network[-1].bias.copy_(torch.tensor([0.0, 0.0, 50.0, -50.0]))
    torch.testing.assert_close(in_numpy(agent, None, 2), in_pytorch(agent, None, 2))


def moved(agent: PEARLAgent) -> PEARLAgent:
    return agent.to(torch.float64).to(torch.float32)


def copied(agent: PEARLAgent) -> PEARLAgent:
    other = deepcopy(agent)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.zero_()  # what the copy acts on is its own
    learn(other, 1)
    return other


def read(agent: PEARLAgent) -> PEARLAgent:
    agent.load_state_dict(pearl_agent(seed=5).state_dict())
    return agent


def read_into_other_memory(agent: PEARLAgent) -> PEARLAgent:
    agent.load_state_dict({name: 2.0 * value for name, value in agent.state_dict().items()}, assign=True)
    return agent


def taught(agent: PEARLAgent) -> PEARLAgent:
    learn(agent, 1)
    return agent


@pytest.mark.parametrize("change", [moved, copied, read, read_into_other_memory, taught])
def test_the_weights_are_the_agents_own_after(change: Any) -> None:
    agent = pearl_agent()
    before = in_numpy(agent, None, 3)
    agent = change(agent)
    found = in_numpy(agent, None, 3)
    torch.testing.assert_close(found, in_pytorch(agent, None, 3), rtol=1e-4, atol=1e-5)
    assert torch.equal(found, before) == (change is moved)
