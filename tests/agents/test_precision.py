"""Gradient steps with hidden layers in bfloat16: nearly the same gradients, all else in single precision."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents import PEARLAgent
from tests.support.agent_tester import (
    DISCRETE,
    generator,
    learn,
    pearl_agent,
    random_batch,
    scalar_agent,
)
from tests.support.pearl_tester import gradients

PARTS = ("encoder", "actor", "critics")


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "linear_gaussian", "critic_layer_norm": False},
        {"kind": "max_pooled_features", "critic_layer_norm": True},
        {"action_space": DISCRETE},
    ],
    ids=["linear-gaussian", "max-pooled", "discrete"],
)
@pytest.mark.parametrize("make", [pearl_agent, scalar_agent])
def test_the_gradient_in_bfloat16_is_that_in_float32_but_for_rounding(
    settings: dict[str, Any], make: Callable[..., PEARLAgent]
) -> None:
    batch = random_batch(
        3, tasks=8, steps=64, **{key: value for key, value in settings.items() if key == "action_space"}
    )
    exact, rounded = (
        make(hidden_sizes=(64, 64), precision=precision, **settings) for precision in ("float32", "bfloat16")
    )
    learn(exact, 2)  # Categorical critics are born without a gradient to what they read.
    rounded.load_state_dict(exact.state_dict())
    for agent in (exact, rounded):
        agent.update(batch, generator(4))
    for part in PARTS:
        expected, found = (torch.cat([g.flatten() for g in gradients(agent, part)]) for agent in (exact, rounded))
        assert not torch.equal(expected, found)
        assert (found - expected).norm() < 0.05 * expected.norm()


def test_weights_outputs_and_what_is_logged_stay_in_single_precision() -> None:
    agent = pearl_agent(kind="linear_gaussian", precision="bfloat16", auxiliary={"reconstruction_weight": 1.0})
    seen = set()

    def watch(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.add((inputs[0].dtype, output.dtype))

    for network in (agent.actor.network, agent.encoder.network, agent.critics, *agent.decoder.networks.values()):
        network.register_forward_hook(watch)
    metrics = agent.update(random_batch(0), generator(0))
    assert seen == {(torch.float32, torch.float32)}
    assert {value.dtype for value in metrics.values()} == {torch.float32}
    assert {parameter.dtype for parameter in agent.parameters()} == {torch.float32}


def test_acting_and_inference_do_not_depend_on_the_precision() -> None:
    exact, rounded = (pearl_agent(precision=precision) for precision in ("float32", "bfloat16"))
    context = random_batch(1).context
    for left, right in zip(exact.infer(context), rounded.infer(context), strict=True):
        assert torch.equal(left, right)
    observation = torch.randn(3, 3, generator=generator(0))
    greedy = torch.ones(3, dtype=torch.bool)
    actions = [
        agent.act(observation, agent.begin(3, generator(1)), greedy, generator(2)).action for agent in (exact, rounded)
    ]
    assert torch.equal(actions[0], actions[1])


def test_the_critics_fit_large_values_to_more_digits_than_bfloat16_has() -> None:
    agent = scalar_agent(precision="bfloat16", hidden_sizes=(32,))
    with torch.no_grad():
        agent.critics.weights[-1].zero_()
        agent.critics.biases[-1].fill_(1000.5)  # bfloat16 knows 1000 and 1004
    assert learn(agent, 1)[0]["q_mean"].item() == pytest.approx(1000.5, abs=1e-3)


def test_categorical_critics_learn_to_more_digits_than_bfloat16_has() -> None:
    agent = pearl_agent(precision="bfloat16", hidden_sizes=(32,))
    assert agent.critics.logits(*(torch.zeros(1, 1, width) for width in (3, 2, 3))).dtype == torch.float32
    with torch.no_grad():
        agent.critics.biases[-1].copy_(agent.critics.bins.probabilities(torch.tensor(10.03)).clamp_min(1e-9).log())
    assert learn(agent, 1)[0]["q_mean"].item() == pytest.approx(10.03, rel=5e-4)  # bfloat16 knows 10 and 10.0625
