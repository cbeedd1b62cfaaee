"""Evidence fades: the belief's natural parameters move back to the prior's."""

import pytest
import torch

from tests.support.encoder_tester import KINDS, at_steps, build_encoder, random_context

FORGETTING = ("linear_gaussian", "product_of_gaussians", "pooled_features", "mean")


@pytest.mark.parametrize("kind", FORGETTING)
def test_forgetting_everything_gives_the_prior_and_nothing_changes_nothing(kind: str) -> None:
    encoder = build_encoder(kind)
    context = random_context(2, 5)
    belief = encoder.encode(context)
    some = encoder.forget(belief, torch.tensor([0.0, 1.0]))
    prior = encoder.prior(2)
    for found, of_prior, before in zip(some, prior, belief, strict=True):
        assert torch.equal(found[0], of_prior[0])
        assert torch.equal(found[1], before[1])


@pytest.mark.parametrize("kind", ["linear_gaussian", "product_of_gaussians"])
def test_a_transition_of_k_steps_ago_counts_as_much_as_the_share_to_the_kth(kind: str) -> None:
    encoder = build_encoder(kind)
    context, share = random_context(1, 4), 0.75
    belief = encoder.prior(1)
    for step in range(4):
        belief = encoder.update(encoder.forget(belief, torch.tensor([share])), at_steps(context, slice(step, step + 1)))
    prior, precision, mean = encoder.prior(1), 0.0, 0.0
    for step in range(4):
        alone = encoder.encode(at_steps(context, slice(step, step + 1)))
        precision = precision + share ** (3 - step) * (alone.precision - prior.precision)
        mean = mean + share ** (3 - step) * alone.weighted_mean
    torch.testing.assert_close(belief.precision, prior.precision + precision)
    torch.testing.assert_close(belief.weighted_mean, mean)
    assert float(belief.n_seen) == pytest.approx(sum(share**k for k in range(4)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FORGETTING])
def test_encoders_whose_belief_is_no_sum_say_that_they_cannot_forget(kind: str) -> None:
    encoder = build_encoder(kind)
    with pytest.raises(TypeError, match=r"cannot forget evidence.*linear_gaussian"):
        encoder.forget(encoder.prior(1), torch.ones(1))
