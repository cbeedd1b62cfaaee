"""The numbers that describe training tasks to an agent."""

import numpy as np
import pytest

from pearl import Task
from pearl.tasks.numbers import standardised_numbers

WIDTH = 8


def described(params, width=WIDTH):
    return standardised_numbers([Task(each) for each in params], width)


def test_numbers_have_mean_0_and_deviation_1_whatever_their_unit():
    rng = np.random.default_rng(1)
    values = rng.uniform(2, 5, 50)
    one = described([{"mass": v, "goal": [1e6 * v * v, -1e-6 * v]} for v in values.tolist()])
    assert one.shape == (50, WIDTH)
    assert one.dtype == np.float32
    np.testing.assert_allclose(one[:, :3].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(one[:, :3].std(0), 1, rtol=1e-5)
    assert not one[:, 3:].any()
    np.testing.assert_allclose(one[:, 2], -one[:, 0], rtol=1e-5, atol=1e-6)


def test_what_all_tasks_share_is_zero_and_what_only_some_have_is_told():
    rows = described([{"kind": "ice", "gravity": 9.81}, {"kind": "ice", "gravity": 9.81, "wind": 3.0}])
    assert not rows[:, :2].any()
    assert np.isfinite(rows).all()
    same = described([{"gravity": 9.81}] * 3)
    assert not same.any()


def test_tasks_without_parameters_are_described_by_zeros():
    assert not described([{}, {}]).any()


@pytest.mark.parametrize("n_numbers", [WIDTH, WIDTH + 1, 300])
def test_many_numbers_are_projected_in_always_the_same_way_and_tell_all_tasks_apart(n_numbers):
    rng = np.random.default_rng(2)
    params = [{"table": rng.normal(size=n_numbers).tolist()} for _ in range(40)]
    rows = described(params)
    assert rows.shape == (40, WIDTH)
    np.testing.assert_array_equal(rows, described(params))
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, rtol=1e-4)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)[np.triu_indices(40, 1)]
    assert distances.min() > 0.5


def test_names_are_told_apart():
    rows = described([{"kind": kind} for kind in ("ice", "sand", "road", "ice")])
    np.testing.assert_array_equal(rows[0], rows[3])
    assert np.linalg.norm(rows[0] - rows[1]) > 1
