import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from encoders import kl_to_unit_gaussian


def random_posterior(tasks: int, latent_dim: int, seed: int) -> Normal:
    rng = torch.Generator().manual_seed(seed)
    mean = 3.0 * torch.randn(tasks, latent_dim, generator=rng)
    return Normal(mean, torch.rand(tasks, latent_dim, generator=rng) + 1e-3)


def test_kl_of_the_unit_gaussian_to_itself_is_zero() -> None:
    assert kl_to_unit_gaussian(Normal(torch.zeros(2, 3), torch.ones(2, 3))).item() == 0.0


def test_kl_equals_the_numbers_worked_out_by_hand() -> None:
    posterior = Normal(torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.tensor([[1.0, 0.5], [2.0, 1.0]]))
    first = 0.5 + (0.5 * (0.25 - 1.0) + math.log(2.0))
    second = (0.5 * (4.0 - 1.0) - math.log(2.0)) + 2.0
    assert kl_to_unit_gaussian(posterior).item() == pytest.approx((first + second) / 2)


@settings(max_examples=30, derandomize=True, database=None)
@given(tasks=st.integers(1, 6), latent_dim=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_kl_equals_torchs_summed_over_dimensions_and_averaged_over_tasks(
    tasks: int, latent_dim: int, seed: int
) -> None:
    posterior = random_posterior(tasks, latent_dim, seed)
    kl = kl_to_unit_gaussian(posterior)
    assert kl.shape == ()
    assert kl >= 0
    torch.testing.assert_close(kl, kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean())


def test_duplicating_the_tasks_does_not_change_the_kl() -> None:
    once = random_posterior(3, 4, 0)
    twice = Normal(torch.cat([once.mean, once.mean]), torch.cat([once.stddev, once.stddev]))
    torch.testing.assert_close(kl_to_unit_gaussian(twice), kl_to_unit_gaussian(once))


def test_duplicating_the_latent_dimensions_doubles_the_kl() -> None:
    once = random_posterior(3, 4, 0)
    wide = Normal(torch.cat([once.mean, once.mean], dim=1), torch.cat([once.stddev, once.stddev], dim=1))
    torch.testing.assert_close(kl_to_unit_gaussian(wide), 2 * kl_to_unit_gaussian(once))
