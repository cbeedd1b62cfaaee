"""PEARL's own tests share these: agents after one gradient step, parts of their weights, gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents import MetaBatch, PEARLAgent
from tests.support.agent_tester import HIGH, LOW, generator, pearl_agent, random_batch, state


def to_unit(action: Tensor) -> Tensor:
    return 2.0 * (action - torch.from_numpy(LOW)) / torch.from_numpy(HIGH - LOW) - 1.0


def part(agent: PEARLAgent, name: str) -> list[Tensor]:
    return [value for key, value in state(agent).items() if key.startswith(name)]


def gradients(agent: PEARLAgent, part: str) -> list[Tensor]:
    """The gradient of each parameter of a part, all of which must have one."""
    found = []
    for parameter in agent.get_submodule(part).parameters():
        assert parameter.grad is not None
        found.append(parameter.grad.clone())
    return found


def assert_gradients(agent: PEARLAgent, expected: dict[str, list[Tensor]]) -> None:
    """The named parts have these gradients, none of them zero; the target critics, which follow, have none."""
    for name, gradients in expected.items():
        found = agent.get_submodule(name).parameters() if name != "log_temperature" else [agent.log_temperature]
        for parameter, gradient in zip(found, gradients, strict=True):
            assert gradient.abs().max() > 0
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for parameter in agent.target_critics.parameters())


def updated(
    batch: MetaBatch | None = None, *, make: Callable[..., PEARLAgent] = pearl_agent, **settings: Any
) -> PEARLAgent:
    agent = make(**settings)
    agent.update(random_batch() if batch is None else batch, generator(0))
    return agent
