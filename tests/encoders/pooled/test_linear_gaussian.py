import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoders import Context, LinearGaussian
from tests.support.encoder_tester import (
    ACTION_DIM,
    LATENT_DIM,
    OBSERVATION_DIM,
    posterior_after,
    random_context,
    random_mask,
)


def linear_gaussian(*, min_stddev: float = 1e-3) -> LinearGaussian:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LinearGaussian(OBSERVATION_DIM, ACTION_DIM, LATENT_DIM, hidden_sizes=(16,), min_stddev=min_stddev)


def measurements(encoder: LinearGaussian, context: Context) -> NDArray[np.float64]:
    """Each transition's direction and value, (task, step, latent_dim + 1), in double precision."""
    joined = torch.cat([context.observation, context.action, context.reward.unsqueeze(-1)], dim=-1)
    with torch.no_grad():
        return np.asarray(encoder.network(joined).double())


def regression(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and stddev of Bayesian linear regression under a unit prior and unit noise."""
    directions, values = rows[:, :-1], rows[:, -1]
    covariance = np.linalg.inv(np.eye(LATENT_DIM) + directions.T @ directions)
    return covariance @ directions.T @ values, np.sqrt(np.diag(covariance))


@pytest.mark.parametrize("steps", [1, 3, 50, 2000])
def test_the_posterior_is_that_of_bayesian_linear_regression(steps: int) -> None:
    encoder = linear_gaussian()
    context = random_context(3, steps)._replace(mask=random_mask(3, steps))
    posterior = posterior_after(encoder, context)
    rows = measurements(encoder, context)
    for task in range(3):
        mean, stddev = regression(rows[task, context.mask[task].numpy()])
        np.testing.assert_allclose(posterior.mean[task].detach(), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(posterior.stddev[task].detach(), stddev, rtol=1e-4)


def test_one_transition_narrows_one_direction_only() -> None:
    encoder = linear_gaussian()
    context = random_context(5, 1, scale=30.0)
    precision = encoder.encode(context).precision
    eigenvalues = torch.linalg.eigvalsh(precision)
    torch.testing.assert_close(eigenvalues[:, :-1], torch.ones(5, LATENT_DIM - 1, dtype=torch.float64))
    assert (eigenvalues[:, -1] > 1.5).all()


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6, 1e10])
@pytest.mark.parametrize("steps", [1, 3, 20_000])
def test_repeated_huge_measurements_leave_the_unmeasured_directions_at_the_prior(steps: int, scale: float) -> None:
    context = Context(*(values.expand(2, steps, *values.shape[2:]) for values in random_context(2, 1, scale=scale)))
    posterior = posterior_after(linear_gaussian(), context)
    # All measure the same direction: the variances of the other latent_dim - 1 directions add up to latent_dim - 1.
    torch.testing.assert_close(posterior.variance.sum(1), torch.full((2,), LATENT_DIM - 1.0), rtol=1e-3, atol=1e-2)
    assert (posterior.stddev <= 1.0001).all()
    assert posterior.mean.abs().max() < 1e3


@pytest.mark.parametrize("min_stddev", [1e-3, 0.1])
def test_no_transition_is_surer_than_the_floor_and_its_value_shrinks_along(min_stddev: float) -> None:
    encoder = linear_gaussian(min_stddev=min_stddev)
    context = random_context(4, 1, scale=1e6)
    belief = encoder.encode(context)
    surest = torch.linalg.eigvalsh(belief.precision)[:, -1]
    torch.testing.assert_close(surest, torch.full((4,), 1.0 + min_stddev**-2, dtype=torch.float64), rtol=1e-6, atol=0.0)
    rows = measurements(encoder, context)[:, 0]
    rows /= min_stddev * np.linalg.norm(rows[:, :-1], axis=1, keepdims=True)
    for task in range(4):
        mean, _ = regression(rows[task : task + 1])
        np.testing.assert_allclose(encoder.posterior(belief).mean[task].detach(), mean, rtol=1e-3, atol=1e-4)
