"""PEARL's gradients: those of each loss on its own, with the draws of the gradient step."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from agents import MetaBatch, PEARLAgent
from agents.learning.value_scale import expected_returns
from agents.losses import actor_loss, critic_loss, soft_bellman_target, soft_value, temperature_loss
from agents.networks.actor_critic import CategoricalCritics
from encoders import Context, kl_to_unit_gaussian
from tests.support.agent_tester import (
    KINDS,
    generator,
    learn,
    pearl_agent,
    random_batch,
    scalar_agent,
    whole_trials,
)
from tests.support.pearl_tester import assert_gradients, to_unit

SEEN = whole_trials(1)
"""The trials of which agents in running units know the units"""


class Draws(NamedTuple):
    """The random draws of an update, as the networks met them."""

    z: Tensor
    """(task, step, latent_dim)"""
    next_action: torch.Generator
    """as it was when the next actions were drawn"""
    new_action: torch.Generator
    """as it was when the actor's actions were drawn"""


def update_and_watch(agent: PEARLAgent, batch: MetaBatch, rng: torch.Generator) -> Draws:
    seen: list[tuple[Tensor, torch.Generator]] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        met = torch.Generator()
        met.set_state(rng.get_state())
        seen.append((inputs[1].detach(), met))

    with agent.actor.register_forward_pre_hook(watch):
        agent.update(batch, rng)
    assert len(seen) == 2
    assert torch.equal(seen[0][0], seen[1][0])
    return Draws(seen[0][0], seen[0][1], seen[1][1])


def normalised(observation: Tensor) -> Tensor:
    """Observations less the mean of those seen, over their standard deviation."""
    rows = SEEN.transitions.observation[SEEN.mask]
    return (observation - rows.mean(0)) / rows.std(0, correction=0)


def in_running_units(context: Context) -> Context:
    """A context as the encoder reads it: standardised, with changes over their root mean square."""
    rewards = SEEN.transitions.reward[SEEN.mask]
    changes = (SEEN.transitions.next_observation - SEEN.transitions.observation)[SEEN.mask]
    return Context(
        normalised(context.observation),
        to_unit(context.action),
        (context.reward - rewards.mean()) / rewards.std(correction=0),
        (context.next_observation - context.observation) / changes.square().mean(0).sqrt(),
        context.mask,
    )


def written_out_gradients(agent: PEARLAgent, batch: MetaBatch, draws: Draws) -> dict[str, list[Tensor]]:
    """Each part's gradient by algorithm 1: the same draws, each loss differentiated on its own."""
    config, data = agent.config, batch.transitions
    scale, offset = torch.tensor(1.0), torch.tensor(0.0)
    if config.reward_scale is None:
        context = in_running_units(batch.context)
        data = data._replace(
            observation=normalised(data.observation), next_observation=normalised(data.next_observation)
        )
        returns = expected_returns(SEEN, 0.9)
        scale = returns.std(correction=0).float()
        offset = returns.mean().float() / scale
    else:
        context = batch.context._replace(action=to_unit(batch.context.action))
        scale = torch.tensor(1.0 / config.reward_scale)
    posterior = agent.encoder.posterior(agent.encoder.encode(context))
    mean, stddev = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
    noise = ((draws.z - mean) / stddev).detach() if agent.encoder.stochastic else torch.zeros_like(draws.z)
    z = mean + stddev * noise
    temperature = agent.log_temperature.exp().detach()
    with torch.no_grad():
        next_action, next_log_prob = agent.actor(data.next_observation, z).sample(draws.next_action)
        next_q = agent.target_critics(data.next_observation, next_action, z).squeeze(-1)
    next_value = soft_value(next_q, next_log_prob, temperature) + offset
    target = soft_bellman_target(data.reward / scale, data.terminated, next_value, 0.9) - offset
    inputs = (data.observation, to_unit(data.action), z)
    if isinstance(agent.critics, CategoricalCritics):
        log_probs = agent.critics.logits(*inputs).squeeze(-2).log_softmax(-1)
        value = -(agent.critics.bins.probabilities(target) * log_probs).sum(-1).mean((1, 2)).sum()
    else:
        value = critic_loss(agent.critics(*inputs).squeeze(-1), target)
    if agent.encoder.stochastic:
        value = value + config.kl_weight * kl_to_unit_gaussian(posterior)
    encoder, critics = list(agent.encoder.parameters()), list(agent.critics.parameters())
    gradients = torch.autograd.grad(value, [*encoder, *critics])
    action, log_prob = agent.actor(data.observation, z.detach()).sample(draws.new_action)
    new_q = agent.critics(data.observation, action, z.detach()).squeeze(-1)
    policy = actor_loss(soft_value(new_q, log_prob, temperature))
    entropy = temperature_loss(agent.log_temperature, -log_prob.detach(), agent.target_entropy)
    return {
        "encoder": list(gradients[: len(encoder)]),
        "critics": list(gradients[len(encoder) :]),
        "actor": list(torch.autograd.grad(policy, list(agent.actor.parameters()))),
        "log_temperature": list(torch.autograd.grad(entropy, [agent.log_temperature])),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_parts_gradient_is_that_of_its_own_losses_and_of_no_other(kind: str) -> None:
    settings: dict[str, Any] = {"kind": kind, "kl_weight": 0.7, "discount": 0.9, "reward_scale": 3.0}
    agent, before = (
        scalar_agent(critic_layer_norm=False, target_update_rate=0.5, initial_temperature=0.1, **settings)
        for _ in range(2)
    )
    learn(agent, 3)
    batch = random_batch(50)
    before.load_state_dict(agent.state_dict())
    draws = update_and_watch(agent, batch, generator(4))
    assert_gradients(agent, written_out_gradients(before, batch, draws))


@pytest.mark.parametrize("kind", KINDS)
def test_in_running_units_each_parts_gradient_is_that_of_its_own_losses_and_of_no_other(kind: str) -> None:
    settings: dict[str, Any] = {"kind": kind, "kl_weight": 0.03, "discount": 0.9, "target_update_rate": 0.5}
    agent, before = (pearl_agent(initial_temperature=0.1, learning_rate=1e-2, **settings) for _ in range(2))
    agent.see(SEEN)
    learn(agent, 10)
    batch = random_batch(50)
    before.load_state_dict(agent.state_dict())
    draws = update_and_watch(agent, batch, generator(4))
    assert_gradients(agent, written_out_gradients(before, batch, draws))
