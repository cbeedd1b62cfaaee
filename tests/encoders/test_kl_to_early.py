import math

import pytest
import torch
from torch.distributions import Normal

from encoders import kl_to_early, kl_to_unit_gaussian


def test_the_kl_to_an_early_posterior_equals_the_numbers_worked_out_by_hand() -> None:
    posterior = Normal(torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.tensor([[1.0, 0.5], [2.0, 1.0]]))
    early = Normal(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 1.0], [2.0, 3.0]]))
    first = (math.log(2.0) + (1.0 + 1.0) / 8 - 0.5) + (math.log(2.0) + 0.25 / 2 - 0.5)
    second = 0.0 + (math.log(3.0) + (1.0 + 9.0) / 18 - 0.5)
    assert kl_to_early(posterior, early).item() == pytest.approx((first + second) / 2)


def test_the_kl_to_the_prior_is_that_of_an_empty_early_context_and_to_itself_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    posterior = Normal(torch.randn(3, 4, generator=rng), torch.rand(3, 4, generator=rng) + 0.1)
    prior = Normal(torch.zeros(3, 4), torch.ones(3, 4))
    torch.testing.assert_close(kl_to_early(posterior, prior), kl_to_unit_gaussian(posterior))
    assert kl_to_early(posterior, posterior).item() == 0.0
