"""With static shapes encoders give the same beliefs and gradients, and leave padding out as they do without."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders import static_shapes
from encoders.kernels.inverse import inverse_of_positive_definite
from encoders.kernels.static_shapes import shapes_are_static
from encoders.types import where_present
from tests.support.encoder_tester import KINDS, TOLERANCE, build_encoder, random_context, random_mask


def posterior_and_gradients(encoder, context):
    posterior = encoder.posterior(encoder.encode(context))
    encoder.zero_grad()
    (posterior.mean.square().sum() + posterior.stddev.square().sum()).backward()
    gradients = [parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None]
    return posterior.mean.detach(), posterior.stddev.detach(), *gradients


@pytest.mark.parametrize("kind", KINDS)
def test_beliefs_and_gradients_are_the_same(kind):
    encoder = build_encoder(kind)
    context = random_context(5, 12)._replace(mask=random_mask(5, 12))
    asked = posterior_and_gradients(encoder, context)
    with static_shapes():
        unasked = posterior_and_gradients(encoder, context)
    assert len(asked) == len(unasked) > 2
    for one, other in zip(asked, unasked, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_contributes_nothing_whatever_it_holds(kind):
    encoder = build_encoder(kind)
    context = random_context(4, 6)._replace(mask=random_mask(4, 6))
    rubbish = context._replace(
        **{
            name: torch.where(context.mask.view(4, 6, *[1] * (values.dim() - 2)), values, torch.nan)
            for name, values in zip(("observation", "action", "reward", "next_observation"), context, strict=False)
        }
    )
    with static_shapes():
        for one, other in zip(
            posterior_and_gradients(encoder, context), posterior_and_gradients(encoder, rubbish), strict=True
        ):
            assert torch.equal(one, other)


def test_a_function_of_rows_is_given_zeros_for_padding_and_learns_nothing_from_it():
    mask = torch.tensor([[True, False], [True, True]])
    rows = torch.where(mask.unsqueeze(-1), torch.tensor([3.0, 4.0]), torch.nan)
    shift = torch.tensor(2.0, requires_grad=True)
    with static_shapes():
        found = where_present(lambda row: row + shift, rows, mask)
    found.sum().backward()
    assert found.tolist() == [[[5, 6], [0, 0]], [[5, 6], [5, 6]]]
    assert shift.grad == 6


def positive_definite(dim, condition, seed):
    rng = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(3, dim, dim, dtype=torch.float64, generator=rng))
    return (axes * torch.logspace(0, condition, dim, dtype=torch.float64)) @ axes.mT


@given(dim=st.integers(1, 12), condition=st.floats(0, 9), seed=st.integers(0, 1000))
def test_the_inverse_is_lapacks(dim, condition, seed):
    matrices = positive_definite(dim, condition, seed)
    with static_shapes():
        found = inverse_of_positive_definite(matrices)
    # What a condition number of 10^9 leaves of double precision; the largest entry of an inverse here is 1.
    torch.testing.assert_close(found, torch.linalg.inv(matrices), rtol=0, atol=1e-15 * 10 ** (condition + 1))


def test_the_inverses_gradient_is_that_of_the_inverse():
    matrices = positive_definite(4, 1, 0).requires_grad_()
    with static_shapes():
        assert torch.autograd.gradcheck(inverse_of_positive_definite, matrices)


def fail_within():
    with static_shapes():
        assert shapes_are_static()
        raise ZeroDivisionError


def test_shapes_are_static_within_and_not_after_even_if_something_failed_within():
    assert not shapes_are_static()
    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert not shapes_are_static()
