import math

import torch

from encoders import ProductOfGaussians
from tests.support.encoder_tester import TOLERANCE, Readout, context_of_rewards, posterior_after, random_context


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_the_product_of_gaussians_equals_the_factors_multiplied_by_hand() -> None:
    encoder = ProductOfGaussians(1, 1, 1, hidden_sizes=(), min_stddev=0.1)
    encoder.network = Readout((2.0, 0.0), (1.0, 0.0))
    posterior = posterior_after(encoder, context_of_rewards([1.0, -0.5], [3.0]))
    variances = [softplus(1.0) + 0.01, softplus(-0.5) + 0.01, softplus(3.0) + 0.01]
    first = 1.0 + 1.0 / variances[0] + 1.0 / variances[1]
    second = 1.0 + 1.0 / variances[2]
    means = [(2.0 / variances[0] - 1.0 / variances[1]) / first, (6.0 / variances[2]) / second]
    torch.testing.assert_close(posterior.mean, torch.tensor(means).unsqueeze(1))
    torch.testing.assert_close(posterior.variance, torch.tensor([[1.0 / first], [1.0 / second]]))


def test_the_product_of_gaussians_density_is_proportional_to_the_product_of_its_factors_and_the_prior() -> None:
    encoder = ProductOfGaussians(1, 1, 1, hidden_sizes=(), min_stddev=0.1)
    encoder.network = Readout((2.0, 0.5), (1.0, -1.0))
    context = context_of_rewards([1.0, -0.5, 0.3])
    precision, weighted_mean = encoder.factors(context)
    factors = torch.distributions.Normal(weighted_mean / precision, precision.rsqrt())
    z = torch.linspace(-2.0, 2.0, 9)
    product = torch.distributions.Normal(0.0, 1.0).log_prob(z) + factors.log_prob(z).sum((0, 1))
    offset = posterior_after(encoder, context).log_prob(z).squeeze(0) - product
    torch.testing.assert_close(offset, offset[:1].expand(9), **TOLERANCE)


def test_no_product_of_gaussians_is_wider_than_the_prior() -> None:
    torch.manual_seed(0)
    encoder = ProductOfGaussians(3, 2, 4, hidden_sizes=(16,))
    assert (posterior_after(encoder, random_context(4, 1, scale=100.0)).stddev <= 1.0).all()


def test_a_factors_stddev_is_floored() -> None:
    encoder = ProductOfGaussians(1, 1, 1, hidden_sizes=(), min_stddev=0.1)
    encoder.network = Readout((0.0, 1.0), (0.0, -1e4))
    precision, _ = encoder.factors(context_of_rewards([1.0]))
    torch.testing.assert_close(precision, torch.full((1, 1, 1), 100.0))
