"""What an early context, and the KL to what it gives, do to learning."""

import pytest
import torch

from agents import MetaBatch
from encoders import Context, kl_to_early
from tests.support.agent_tester import (
    KINDS,
    assert_identical,
    generator,
    pearl_agent,
    random_batch,
    scalar_agent,
    state,
)
from tests.support.pearl_tester import part


def with_early_context(batch: MetaBatch) -> MetaBatch:
    early, later = (Context(*(values[:, steps] for values in batch.context)) for steps in (slice(2), slice(2, None)))
    return batch._replace(context=later, early_context=early)


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_split_into_early_and_later_teaches_what_the_whole_does(kind: str) -> None:
    whole, split = scalar_agent(kind=kind), scalar_agent(kind=kind)
    whole.update(random_batch(), generator(0))
    split.update(with_early_context(random_batch()), generator(0))
    for name, value in state(whole).items():
        torch.testing.assert_close(state(split)[name], value, rtol=1e-4, atol=1e-5)


def test_the_early_kls_weight_moves_the_encoder_and_neither_critics_nor_actor() -> None:
    without, with_kl = pearl_agent(), pearl_agent(auxiliary={"early_kl_weight": 5.0})
    reports = [agent.update(with_early_context(random_batch()), generator(0)) for agent in (without, with_kl)]
    assert "early_kl" not in reports[0]
    pairs = zip(part(with_kl, "encoder"), part(without, "encoder"), strict=True)
    assert any(not torch.equal(left, right) for left, right in pairs)
    for kept in ("critics", "actor"):
        assert_identical(part(with_kl, kept), part(without, kept))


def test_the_early_kl_reported_is_that_of_the_batch() -> None:
    agent = pearl_agent(auxiliary={"early_kl_weight": 1.0})
    batch = random_batch()
    split = with_early_context(batch)
    assert split.early_context is not None
    whole = agent.encoder.posterior(agent.infer(batch.context))
    early = agent.encoder.posterior(agent.infer(split.early_context))
    report = agent.update(split, generator(0))
    torch.testing.assert_close(report["early_kl"], kl_to_early(whole, early).detach(), rtol=1e-4, atol=1e-5)


def test_without_an_early_context_there_is_no_kl_to_one() -> None:
    assert "early_kl" not in pearl_agent(auxiliary={"early_kl_weight": 1.0}).update(random_batch(), generator(0))
