"""Running moments and the scales made of them."""

import pytest
import torch

from agents.networks.moments import RunningMoments, without_outliers
from tests.support.agent_tester import generator


def rows(n: int = 500, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, generator=generator(seed), dtype=torch.float64)


def test_moments_in_parts_are_those_of_all_rows():
    moments = RunningMoments(1)
    values = 3.0 + 2.0 * rows()
    for part in values.split(130):
        moments.see(part)
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.variance, values.var(0, correction=0))


@pytest.mark.parametrize("outlier", [1e4, -1e8, 1e30])
def test_one_outlier_among_many_rows_leaves_the_scale_in_its_order(outlier):
    moments = RunningMoments(1)
    values = rows()
    values[7] = outlier
    moments.see(values)
    assert 0.1 < float(moments.inverse_deviation()) <= 1.1


def test_rare_values_are_no_outliers_where_all_others_are_equal():
    values = torch.zeros(1000, 1, dtype=torch.float64)
    values[3] = 5.0
    assert without_outliers(values).equal(values)


def test_a_value_that_never_varied_has_the_scale_zero_and_one_beside_a_large_offset_its_own():
    constant, offset = RunningMoments(1), RunningMoments(1)
    constant.see(torch.full((50, 1), 0.1))
    offset.see(1e6 + rows())
    assert float(constant.inverse_deviation()) == 0.0
    assert float(offset.inverse_deviation()) == pytest.approx(1.0, rel=0.1)
