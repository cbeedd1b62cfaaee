"""The contrastive loss in the agent: its views, whom it teaches, and that it is not there without a weight."""

import torch

from encoders import Context, info_nce
from tests.support.agent_tester import (
    assert_identical,
    generator,
    pearl_agent,
    random_batch,
)
from tests.support.pearl_tester import gradients


def test_the_views_are_every_other_transition():
    agent, batch = pearl_agent(auxiliary={"contrastive_weight": 1.0}, learning_rate=1e-9), random_batch()
    views = [Context(*(field[:, start::2] for field in batch.context)) for start in (0, 1)]
    with torch.no_grad():
        first, second = (agent.encoder.posterior(agent.infer(view)).mean for view in views)
    expected = info_nce(first, second, views[0].mask.any(1) & views[1].mask.any(1))
    torch.testing.assert_close(agent.update(batch, generator(0))["contrastive_loss"], expected)


def test_a_context_of_one_transition_has_no_second_view():
    agent, batch = pearl_agent(auxiliary={"contrastive_weight": 1.0}), random_batch()
    lone = torch.zeros_like(batch.context.mask)
    lone[:, 0] = True
    report = agent.update(batch._replace(context=batch.context._replace(mask=lone)), generator(0))
    assert report["contrastive_loss"].item() == 0.0


def test_it_teaches_the_encoder_and_nobody_else():
    with_it, without = pearl_agent(auxiliary={"contrastive_weight": 1.0}), pearl_agent()
    for agent in (with_it, without):
        agent.update(random_batch(), generator(0))
    for part in ("actor", "critics"):
        assert_identical(gradients(with_it, part), gradients(without, part))
    for found, plain in zip(gradients(with_it, "encoder"), gradients(without, "encoder"), strict=True):
        assert not torch.equal(found, plain)


def test_without_a_weight_it_is_not_computed():
    report = pearl_agent().update(random_batch(), generator(0))
    assert "contrastive_loss" not in report


def test_it_makes_beliefs_of_different_tasks_different():
    """Task k gives the reward k, so that contexts tell tasks apart; the critics see no reward at all."""
    agent = pearl_agent(auxiliary={"contrastive_weight": 1.0}, kl_weight=0.0, learning_rate=3e-3)
    batch = random_batch()
    n_tasks, steps = batch.context.mask.shape
    context = batch.context._replace(
        reward=torch.arange(float(n_tasks)).unsqueeze(1).expand(-1, steps).contiguous(),
        mask=torch.ones_like(batch.context.mask),
    )
    silent = batch.transitions._replace(reward=torch.zeros_like(batch.transitions.reward))
    batch = batch._replace(context=context, transitions=silent)
    losses = [agent.update(batch, generator(step))["contrastive_loss"].item() for step in range(200)]
    assert losses[-1] < 0.2 * losses[0]
