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


def test_what_all_tasks_share_changes_nothing():
    params = [{"mass": mass} for mass in (1.0, 2.0, 4.0)]
    alone = described(params)
    for n_shared in (1, WIDTH, 40):
        shared = [{**each, "shape": [3.0] * n_shared, "kind": "ice"} for each in params]
        np.testing.assert_array_equal(described(shared), alone)
    assert not described([{"gravity": 9.81}] * 3).any()


@pytest.mark.parametrize(
    "params",
    [
        [{"kind": "ice"}, {"kind": "ice", "wind": 3.0}],
        [{"path": [1, 2]}, {"path": [1, 2, 3]}],
        [{"goal": 1.0}, {"goal": -1.0}, {"goal": 0.0}, {}],
        [{"a": {"b": 1.0}, "a.b": 2.0}, {"a": {"b": 3.0}, "a.b": 2.0}],
        [{"x": None}, {"x": 1.0}, {"x": "one"}, {"x": True}, {"x": [1.0]}],
    ],
)
def test_tasks_that_differ_have_other_numbers(params):
    rows = described(params)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)[np.triu_indices(len(rows), 1)]
    assert distances.min() > 0.1


@pytest.mark.parametrize("values", [[2**60 + k for k in range(4)], [1e308, 1.2e308, 1.7e308], [-1e308, 0.0, 1e308]])
def test_huge_numbers_keep_their_order_and_their_distances(values):
    found = described([{"seed": value} for value in values])[:, 0]
    assert (np.diff(found) > 0.1).all()
    assert found.std() == pytest.approx(1, rel=1e-5)


def test_a_whole_number_beyond_floats_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"The parameter world\.seed has a whole number that no float can hold"):
        described([{"world": {"seed": 10**400}}, {"world": {"seed": 0.5}}])


def test_rounding_errors_are_not_told():
    angles = np.linspace(0, 3, 50)
    noisy = [{"x": float(np.cos(t)), "radius": float(np.cos(t) ** 2 + np.sin(t) ** 2)} for t in angles]
    assert len({each["radius"] for each in noisy}) > 1
    assert not described(noisy)[:, 1:].any()


def test_a_name_that_tells_all_tasks_apart_does_not_drown_a_number():
    params = [{"mass": mass, "id": f"s{n}"} for n, mass in enumerate(np.linspace(0, 1, 100).tolist())]
    rows = described(params, 32).astype(np.float64)
    masses = np.linspace(0, 1, 100)
    design = np.column_stack([rows, np.ones(100)])
    fitted = design @ np.linalg.lstsq(design, masses, rcond=None)[0]
    assert 1 - (fitted - masses).var() / masses.var() > 0.9


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
