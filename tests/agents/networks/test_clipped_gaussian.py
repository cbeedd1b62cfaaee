"""A Gaussian policy whose samples are cut to the bounds: the likelihood of the action that is carried out."""

import math

import pytest
import torch
from torch import Tensor

from agents.networks.policies import ClippedGaussian
from tests.support.agent_tester import generator


def policy(mean: float, stddev: float) -> ClippedGaussian:
    return ClippedGaussian(torch.tensor([mean]), torch.tensor([stddev]).log())


@pytest.mark.parametrize(("mean", "stddev"), [(0.0, 0.5), (0.9, 0.3), (-1.5, 0.4), (0.2, 3.0)])
def test_densities_within_and_masses_on_the_bounds_add_up_to_one(mean: float, stddev: float) -> None:
    one = policy(mean, stddev)
    within = torch.linspace(-1 + 1e-5, 1 - 1e-5, 20_001).unsqueeze(-1)
    density = torch.trapezoid(one.log_prob(within).exp(), within.squeeze(-1))
    masses = one.log_prob(torch.tensor([[-1.0], [1.0]])).exp().sum()
    assert (density + masses).item() == pytest.approx(1.0, abs=1e-4)


def test_a_bounds_mass_is_the_share_of_samples_on_it() -> None:
    one = policy(0.7, 0.5)
    samples = ClippedGaussian(*(part.expand(100_000, 1) for part in one)).sample(generator(0))
    assert samples.abs().max().item() == 1.0
    share = (samples == 1.0).float().mean().item()
    assert one.log_prob(torch.ones(1)).exp().item() == pytest.approx(share, abs=0.005)
    assert share == pytest.approx(0.5 * math.erfc(0.6 / math.sqrt(2)), abs=0.005)


def test_the_mode_is_the_mean_within_the_bounds() -> None:
    assert [policy(mean, 0.1).mode.item() for mean in (-3.0, 0.25, 1.5)] == [-1.0, 0.25, 1.0]


def test_an_action_that_rounding_took_off_its_bound_counts_as_on_it() -> None:
    one = policy(0.3, 0.2)
    assert one.log_prob(torch.tensor([1.0 - 6e-8])).item() == pytest.approx(
        one.log_prob(torch.ones(1)).item(), abs=1e-4
    )


def test_the_gradient_of_the_likelihood_is_that_of_the_expectation() -> None:
    """E[a grad log p(a)] = grad E[a], of which the expectation of a cut Gaussian is known."""
    mean = torch.tensor(0.6, requires_grad=True)
    log_stddev = torch.tensor(-0.7)
    many = ClippedGaussian(mean.expand(400_000, 1), log_stddev.expand(400_000, 1))
    action = many.sample(generator(0)).detach()
    (action.squeeze(-1) * many.log_prob(action)).mean().backward()
    low, high = ((bound - 0.6) / math.exp(-0.7) for bound in (-1.0, 1.0))
    inside = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    assert mean.grad is not None
    assert mean.grad.item() == pytest.approx(inside, abs=0.01)


@pytest.mark.parametrize("mean", [-30.0, -2.0, 0.0, 0.99, 30.0])
@pytest.mark.parametrize("action", [-1.0, 0.3, 1.0])
def test_second_derivatives_are_finite_however_far_the_mean_is_out(mean: float, action: float) -> None:
    def log_prob(parameters: Tensor) -> Tensor:
        return ClippedGaussian(parameters[:1], parameters[1:]).log_prob(torch.tensor([action]))

    second = torch.autograd.functional.hessian(log_prob, torch.tensor([mean, -1.0]))
    assert second.isfinite().all()


def test_the_entropy_is_that_of_the_gaussian_before_the_cut() -> None:
    assert policy(0.0, 0.5).entropy().item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.25), rel=1e-5)
