"""Samplers of task parameters."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl.tasks.samplers import Categorical, LogUniform, Sampler, Scale, Uniform, is_sampler

seeds = st.integers(0, 2**32 - 1)
bounds = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(lambda pair: pair[0] < pair[1])
positive_bounds = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).filter(lambda pair: pair[0] < pair[1])


class Coin:
    def sample(self, rng):
        return bool(rng.integers(2))


@given(bounds, seeds)
def test_a_uniform_draw_lies_between_the_bounds(pair, seed):
    assert pair[0] <= Uniform(*pair).sample(np.random.default_rng(seed)) <= pair[1]


@given(positive_bounds, seeds)
def test_a_log_uniform_draw_lies_between_the_bounds(pair, seed):
    assert pair[0] <= LogUniform(*pair).sample(np.random.default_rng(seed)) <= pair[1]


def test_halving_is_as_likely_as_doubling_for_log_uniform():
    rng = np.random.default_rng(0)
    draws = np.array([LogUniform(0.5, 2.0).sample(rng) for _ in range(4000)])
    assert abs((draws < 1).mean() - 0.5) < 0.03
    assert abs((draws < math.sqrt(0.5)).mean() - 0.25) < 0.03


def test_uniform_draws_fill_their_range_evenly():
    rng = np.random.default_rng(0)
    draws = np.array([Uniform(-1.0, 3.0).sample(rng) for _ in range(4000)])
    assert abs((draws < 0).mean() - 0.25) < 0.03
    assert abs(draws.mean() - 1.0) < 0.06


def test_a_categorical_draws_all_of_its_values_and_no_others():
    sampler, rng = Categorical([1, "two", [3.0, 4.0]]), np.random.default_rng(0)
    drawn = [sampler.sample(rng) for _ in range(300)]
    assert all(drawn.count(value) > 60 for value in (1, "two", [3.0, 4.0]))
    assert all(value in (1, "two", [3.0, 4.0]) for value in drawn)


@pytest.mark.parametrize(
    "sampler", [Uniform(0, 1), LogUniform(0.1, 1), Categorical([0.5, [1, 2]]), Scale(Uniform(0.5, 2))], ids=repr
)
def test_the_same_generator_state_draws_the_same_json_value(sampler):
    draws = [sampler.sample(np.random.default_rng(3)) for _ in range(2)]
    assert draws[0] == draws[1]
    assert json.loads(json.dumps(draws[0])) == draws[0]


def test_a_scale_draws_what_its_sampler_draws():
    factor = Scale(LogUniform(0.5, 2.0)).sample(np.random.default_rng(1))
    assert factor == LogUniform(0.5, 2.0).sample(np.random.default_rng(1))


@pytest.mark.parametrize("sampler", [Uniform, LogUniform])
@pytest.mark.parametrize("pair", [(2.0, 1.0), (1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_bounds_that_are_not_finite_or_not_in_order_are_an_error_that_shows_them(sampler, pair):
    message = rf"{sampler.__name__} needs finite bounds, low under high, got low={pair[0]!r} and high={pair[1]!r}"
    with pytest.raises(ValueError, match=message):
        sampler(*pair)


@pytest.mark.parametrize("low", ["1", None, True, np.zeros(2)])
def test_a_bound_that_is_no_number_is_an_error(low):
    with pytest.raises(TypeError, match="Uniform needs two numbers, got low="):
        Uniform(low, 2.0)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_log_uniform_needs_positive_bounds(low):
    with pytest.raises(ValueError, match=f"LogUniform needs positive bounds, got low={low}"):
        LogUniform(low, 2.0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], ValueError, "at least one value"),
        ("abc", TypeError, "needs a list of values, got 'abc'"),
        (3.0, TypeError, "needs a list of values, got 3.0"),
        ([np.zeros(2)], TypeError, r"\.tolist\(\)"),
        ([1.0, math.nan], ValueError, "needs finite values"),
    ],
)
def test_a_categorical_without_json_values_is_an_error(values, error, message):
    with pytest.raises(error, match=message):
        Categorical(values)


def test_a_categorical_does_not_follow_the_list_it_was_made_from():
    values = [[1.0], [1.0]]
    sampler = Categorical(values)
    values[0][0] = values[1][0] = 9.0
    assert sampler.sample(np.random.default_rng(0)) == [1.0]


@pytest.mark.parametrize("inner", [2.0, Uniform, Scale(Uniform(0, 1))], ids=repr)
def test_a_scale_of_no_sampler_is_an_error(inner):
    with pytest.raises(TypeError, match="Scale needs a sampler of factors"):
        Scale(inner)


def test_a_scale_multiplies_by_numbers_alone():
    with pytest.raises(TypeError, match=r"multiplies by numbers, but Categorical.* drew 'heavy'"):
        Scale(Categorical(["heavy"])).sample(np.random.default_rng(0))


def test_any_object_with_the_method_is_a_sampler():
    assert isinstance(Coin(), Sampler)
    assert is_sampler(Coin())
    assert not is_sampler(Coin)
    assert not is_sampler((5, 15))
