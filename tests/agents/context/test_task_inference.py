"""The task decoder: what it asks for, whom it teaches, and that it is not there without a weight."""

from typing import Any

import pytest
import torch
from torch import Tensor

from agents import AuxiliaryConfig, MetaBatch, PEARLAgent, PEARLAgentConfig
from agents.context.decoder import TaskDecoder
from agents.types import TASK_NUMBERS
from tests.support.agent_tester import assert_identical, generator, pearl_agent, random_batch
from tests.support.pearl_tester import gradients, updated


def described(batch: MetaBatch | None = None) -> MetaBatch:
    batch = random_batch() if batch is None else batch
    n_tasks = len(batch.context.reward)
    return batch._replace(task_numbers=torch.randn(n_tasks, TASK_NUMBERS, generator=generator(5)))


def inferring(weight: float, **auxiliary: Any) -> PEARLAgent:
    return updated(described(), auxiliary={"task_inference_weight": weight, **auxiliary})


def test_the_loss_is_half_the_squared_distance_from_the_task() -> None:
    config = PEARLAgentConfig(hidden_sizes=(8,), auxiliary=AuxiliaryConfig(task_inference_weight=1.0))
    made = TaskDecoder(4, config)
    assert made.network is not None
    z, numbers = torch.randn(5, 4), torch.randn(5, TASK_NUMBERS)
    expected = 0.5 * torch.linalg.vector_norm(made.network(z) - numbers, dim=1).square().mean()
    assert made.loss(z, numbers).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_task_decoder_teaches_the_encoder_and_neither_actor_nor_critics() -> None:
    plain, light, heavy = updated(), inferring(0.5), inferring(2.0)
    for part in ("actor", "critics"):
        assert_identical(gradients(light, part), gradients(plain, part))
        assert_identical(gradients(heavy, part), gradients(plain, part))
    without, half, twice = (gradients(agent, "encoder") for agent in (plain, light, heavy))
    for none, some, more in zip(without, half, twice, strict=True):
        assert (some - none).abs().max() > 0
        torch.testing.assert_close(more - none, 4 * (some - none), rtol=1e-3, atol=1e-5)


def test_the_task_decoder_can_be_the_only_teacher() -> None:
    agent = inferring(1.0, critics_teach_encoder=False)
    assert all(gradient.abs().max() > 0 for gradient in gradients(agent, "encoder"))


def test_without_a_weight_there_is_no_task_decoder_and_the_numbers_change_nothing() -> None:
    plain, with_numbers = updated(), updated(described())
    assert not list(plain.task_decoder.parameters())
    assert_identical(list(plain.parameters()), list(with_numbers.parameters()))


@pytest.mark.parametrize("shape", [None, (TASK_NUMBERS,), (3, 1), (1, TASK_NUMBERS), (3, TASK_NUMBERS - 1)])
def test_a_batch_without_every_tasks_numbers_is_an_error_that_names_them(shape: tuple[int, ...] | None) -> None:
    batch = random_batch()
    n_tasks = len(batch.context.reward)
    batch = batch._replace(task_numbers=None if shape is None else torch.zeros(shape))
    with pytest.raises(ValueError, match=rf"needs task_numbers \({n_tasks}, {TASK_NUMBERS}\), got"):
        updated(batch, auxiliary={"task_inference_weight": 1.0})


def told(numbers: Tensor, reward: Tensor, agent: PEARLAgent) -> float:
    """Part of the variance of a task's first number that the decoder finds in the posterior mean."""
    batch = random_batch()
    context = batch.context._replace(reward=reward)
    mean = agent.encoder.posterior(agent.infer(context)).mean
    assert agent.task_decoder.network is not None
    error = agent.task_decoder.network(mean)[:, 0] - numbers[:, 0]
    return 1 - float((error.square().mean() / numbers[:, 0].var(correction=0)).detach())


def test_what_shows_in_the_rewards_of_a_context_is_inferred() -> None:
    agent = pearl_agent(auxiliary={"task_inference_weight": 1.0})
    batch = random_batch()
    numbers = torch.zeros(len(batch.context.reward), TASK_NUMBERS)
    numbers[:, 0] = torch.linspace(-1, 1, len(numbers))
    reward = numbers[:, :1].expand_as(batch.context.reward).clone()
    batch = batch._replace(context=batch.context._replace(reward=reward), task_numbers=numbers)
    losses = [float(agent.update(batch, generator(step))["task_inference_loss"]) for step in range(400)]
    assert sum(losses[-20:]) < 0.3 * sum(losses[:20])
    assert told(numbers, reward, agent) > 0.8
