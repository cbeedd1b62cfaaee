"""The blind reference plays every task with the same z."""

import torch

from tests.support.encoder_tester import LATENT_DIM, build_encoder, fold, random_context


def test_whatever_is_seen_z_is_zero_without_a_spread() -> None:
    encoder = build_encoder("blind")
    for belief in (encoder.prior(3), encoder.encode(random_context(3, 7, scale=1e6))):
        posterior = encoder.posterior(belief)
        assert torch.equal(posterior.mean, torch.zeros(3, LATENT_DIM))
        assert torch.equal(posterior.stddev, torch.zeros(3, LATENT_DIM))
    assert not encoder.stochastic


def test_it_counts_what_it_saw_and_has_nothing_to_learn() -> None:
    encoder = build_encoder("blind")
    context = random_context(2, 5)
    context.mask[1, 2:] = False
    assert fold(encoder, context, [3, 2]).n_seen.tolist() == [5, 2]
    assert list(encoder.parameters()) == []
    assert encoder.state_dict() == {}
