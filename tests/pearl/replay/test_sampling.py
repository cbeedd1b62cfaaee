"""Every context that a gradient step reads is in time order, without gaps: encoders may read it as it happened."""

import pytest
import torch

from tests.support.small import LENGTH, small_model
from tests.support.twins import own_sampler

BATCHES = 100


def sampled(model):
    """Contexts of many meta-batches, early ones and later ones, after more transitions than the replay holds."""
    sampler = own_sampler(model.training, torch.Generator().manual_seed(0))
    batches = [sampler.sample() for _ in range(BATCHES)]
    return [context for batch in batches for context in (batch.context, batch.early_context)]


def rows_without_padding(contexts):
    """Each task's observations and next observations, where masks say that they are there."""
    for context in contexts:
        for row, mask in enumerate(context.mask):
            yield context.observation[row, mask], context.next_observation[row, mask]


@pytest.mark.parametrize("random_length", [False, True])
def test_a_tasks_own_contexts_early_and_later_are_in_time_order_without_gaps(random_length):
    training = {"context": {"random_length": random_length, "max_length": 7}, "replay_capacity": 30}
    model = small_model(agent={"auxiliary": {"early_kl_weight": 0.1}}, training=training).learn(200)
    assert (model.training.replay.n_added > 30).all()
    lengths = set()
    for observation, _ in rows_without_padding(sampled(model)):
        _, episode, step = observation.T
        time = episode * LENGTH + step
        assert torch.equal(time, time[0] + torch.arange(len(time)))
        lengths.add(len(time))
    assert lengths == set(range(1, 8))


def test_relabelled_contexts_early_and_later_are_in_time_order_without_gaps():
    training = {
        "relabelling": {"candidates": 3, "rewarded_context": 5},
        "episodes_per_trial": 1,
        "context": {"max_length": 7},
    }
    model = small_model("sparse-point-robot", agent={"auxiliary": {"early_kl_weight": 0.1}}, training=training).learn(
        200
    )
    rows = list(rows_without_padding(sampled(model)))
    assert {len(observation) for observation, _ in rows} == set(range(1, 8))
    for observation, next_observation in rows:
        assert torch.equal(observation[1:], next_observation[:-1])


def test_padding_follows_what_is_there():
    for context in sampled(small_model(agent={"auxiliary": {"early_kl_weight": 0.1}}).learn(80)):
        assert (context.mask[:, 1:] <= context.mask[:, :-1]).all()
        assert context.mask[:, 0].all()
