import math

import torch

from encoders import Context, MeanAggregator, PooledFeatures
from tests.support.encoder_tester import Readout, context_of_rewards, posterior_after, random_context, random_mask


def test_the_mean_aggregators_z_is_the_mean_of_the_embeddings() -> None:
    encoder = MeanAggregator(1, 1, 2, hidden_sizes=())
    encoder.features = Readout((2.0, 0.0), (0.0, 7.0))
    posterior = posterior_after(encoder, context_of_rewards([1.0, 3.0, 5.0], [-1.0], []))
    torch.testing.assert_close(posterior.mean, torch.tensor([[6.0, 7.0], [-2.0, 7.0], [0.0, 0.0]]))
    assert torch.equal(posterior.stddev, torch.zeros(3, 2))


def test_the_pooled_head_reads_the_mean_feature_and_the_amount_of_context() -> None:
    torch.manual_seed(0)
    encoder = PooledFeatures(1, 1, 2, hidden_sizes=(4,), feature_dim=3, head_sizes=(5,), min_stddev=0.05)
    context = random_context(2, 6)._replace(mask=random_mask(2, 6))
    context = context._replace(
        observation=context.observation[..., :1],
        next_observation=context.next_observation[..., :1],
        action=context.action[..., :1],
    )
    posterior = posterior_after(encoder, context)
    for task in range(2):
        seen = context.mask[task]
        inputs = torch.stack([values[task, seen].flatten() for values in context[:3]], dim=-1)
        features = encoder.features(inputs).mean(0)
        amount = torch.tensor([math.log1p(int(seen.sum()))])
        mean, raw_stddev = encoder.head(torch.cat([features, amount])).chunk(2)
        torch.testing.assert_close(posterior.mean[task], mean)
        torch.testing.assert_close(posterior.stddev[task], torch.log1p((raw_stddev + 0.5).exp()) + 0.05)


def test_more_of_the_same_context_changes_the_pooled_posterior_but_not_the_mean_embedding() -> None:
    torch.manual_seed(0)
    pooled, mean = PooledFeatures(3, 2, 4, hidden_sizes=(8,)), MeanAggregator(3, 2, 4, hidden_sizes=(8,))
    once = random_context(2, 3)
    often = Context(*(torch.cat([values] * 10, dim=1) for values in once))
    assert not torch.allclose(posterior_after(pooled, often).stddev, posterior_after(pooled, once).stddev)
    torch.testing.assert_close(posterior_after(mean, often).mean, posterior_after(mean, once).mean)
