"""Statistics of runs and tasks against numbers worked out by hand, and intervals that cover what they should."""

import numpy as np
import pytest

from pearl.evaluation.statistics import (
    CVAR_TASKS,
    cvar,
    interquartile_mean,
    interval,
    mean_interval,
    performance_profile,
    probability_of_improvement,
)


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    values = np.array([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, -100.0]])
    assert interquartile_mean(values) == (2 + 3 + 4 + 5) / 4


def test_of_seven_values_one_is_left_out_at_either_end_and_of_three_none():
    assert interquartile_mean(np.array([[0.0, 1, 2, 3, 4, 5, 60]])) == 3
    assert interquartile_mean(np.array([[0.0], [1], [5]])) == 2


def test_the_interquartile_mean_is_taken_of_each_episode_by_itself():
    episodes = np.stack([np.array([[0.0, 1, 2, 30]]), np.array([[5.0, -50, 7, 9]])], axis=-1)
    assert interquartile_mean(episodes).tolist() == [1.5, 6.0]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["rising", "falling"])
@pytest.mark.parametrize(
    ("n", "worst"),
    [
        (20, 0.0),
        (40, (0 + 1) / 2),
        (25, (0 + 0.25 * 1) / 1.25),
        (50, (0 + 1 + 0.5 * 2) / 2.5),
        (59, (0 + 1 + 0.95 * 2) / 2.95),
    ],
)
def test_the_cvar_is_the_mean_of_the_lowest_twentieth_whose_last_task_may_count_by_a_fraction(n, worst, order):
    assert cvar(np.arange(float(n))[None, order]) == pytest.approx(worst)


def test_the_cvar_does_not_depend_on_the_order_of_tasks():
    values = np.random.default_rng(0).permutation(np.arange(-50.0, 50.0))
    assert cvar(values[None]) == (-50 - 49 - 48 - 47 - 46) / 5


def test_the_cvar_of_tasks_that_tie_is_their_value_and_counts_no_more_of_them_than_a_twentieth():
    assert cvar(np.full((1, 33), -2.5)) == pytest.approx(-2.5)
    ties = np.array([[-9.0, -3.0, -3.0, -3.0] + [0.0] * 36])
    assert cvar(ties) == (-9 - 3) / 2


def test_the_cvar_is_of_the_tasks_of_all_runs_together_and_of_each_episode_by_itself():
    values = np.zeros((2, 20, 2))
    values[0, :2, 0] = -8.0, -6.0
    values[:, 7, 1] = -4.0, -2.0
    assert cvar(values).tolist() == [-7.0, -3.0]


def test_the_cvar_of_a_normal_distribution_is_its_density_at_the_quantile_over_the_share():
    # φ(Φ⁻¹(0.05)) / 0.05 = 2.0627 standard deviations below the mean.
    assert cvar(np.random.default_rng(0).normal(1.0, 2.0, (1, 400_000))) == pytest.approx(1 - 2 * 2.0627, abs=0.03)


def test_of_too_few_tasks_there_is_no_cvar_however_many_runs_there_are():
    with pytest.raises(ValueError, match="20 tasks or more, found 19"):
        cvar(np.zeros((5, CVAR_TASKS - 1)))


def test_a_profile_is_the_share_above_each_threshold():
    values = np.array([[0.0, 0.5], [0.5, 1.0]])
    assert performance_profile(values, [-1.0, 0.0, 0.25, 0.5, 1.0]).tolist() == [1.0, 0.75, 0.75, 0.25, 0.0]


def test_a_profile_never_rises():
    values = np.random.default_rng(0).normal(size=(3, 20))
    assert (np.diff(performance_profile(values, np.linspace(-3, 3, 50))) <= 0).all()


def test_the_probability_of_improvement_counts_tasks_ahead_and_ties_half():
    ours, theirs = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 2.0], [4.0, -1.0]])
    assert probability_of_improvement(ours, theirs) == (1 + 0.5 + 0 + 1) / 4
    assert probability_of_improvement(ours, theirs) + probability_of_improvement(theirs, ours) == 1
    assert probability_of_improvement(ours, ours) == 0.5


def test_runs_of_other_tasks_cannot_be_compared_task_by_task():
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(2, 4\)"):
        probability_of_improvement(np.zeros((2, 3)), np.zeros((2, 4)))


def test_the_interval_of_values_that_are_all_equal_is_that_value():
    assert interval(interquartile_mean, np.full((3, 4), 2.5)) == (2.5, 2.5)


def test_the_interval_of_a_single_run_is_that_of_the_mean_over_its_tasks():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(1, 400))
    low, high = interval(np.mean, values)
    half_width = 1.96 * values.std() / np.sqrt(400)
    np.testing.assert_allclose([low, high], values.mean() + half_width * np.array([-1, 1]), atol=0.04)


def test_runs_that_differ_widen_the_interval_though_their_tasks_are_many():
    tasks = np.random.default_rng(0).normal(0.0, 0.1, size=(10, 200))
    runs = np.linspace(-1, 1, 10)[:, None]
    low, high = interval(np.mean, tasks + runs)
    half_width = 1.96 * runs.std() / np.sqrt(10)
    np.testing.assert_allclose([low, high], half_width * np.array([-1, 1]), atol=0.05)


def test_tasks_are_resampled_within_their_run():
    """Runs whose tasks are all alike have no interval of their own: what is left is the choice of runs."""
    values = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    seen = []
    interval(lambda chosen: seen.append(chosen) or 0.0, values)
    assert all((chosen == chosen[:, :1]).all() for chosen in seen)
    assert {chosen[:, 0].sum() for chosen in seen} == {2.0, 3.0, 4.0}


def test_samples_are_resampled_alike():
    ours = np.random.default_rng(0).normal(size=(3, 5))
    assert interval(probability_of_improvement, ours + 1e-9, ours) == (1.0, 1.0)


def test_the_interval_has_the_statistics_shape_and_is_the_same_again():
    values = np.random.default_rng(0).normal(size=(3, 5, 4))
    first, again = (interval(interquartile_mean, values) for _ in range(2))
    assert first[0].shape == first[1].shape == (4,)
    assert (first[0] < interquartile_mean(values)).all()
    assert (first[1] > interquartile_mean(values)).all()
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("shapes", [[(2, 3), (2, 4)], [(0, 3)], []])
def test_samples_of_other_runs_or_tasks_or_none_are_an_error(shapes):
    with pytest.raises(ValueError, match="same runs and tasks, one at least"):
        interval(lambda *samples: 0.0, *(np.zeros(shape) for shape in shapes))


def test_the_interval_of_the_mean_of_two_tasks_is_their_range():
    # Of two values the resampled mean is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4.
    assert mean_interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_the_interval_of_the_mean_of_a_rare_value_by_hand():
    # One 1 among ten zeros: the mean is k / 10 with k ~ Binomial(10, 0.1); P(k <= 2) = 0.930, P(k <= 3) = 0.987.
    assert mean_interval(np.array([1.0] + [0.0] * 9)) == (0.0, pytest.approx(0.3))


def test_the_interval_of_the_mean_of_equal_tasks_is_their_value():
    assert mean_interval(np.full(7, 2.5)) == (2.5, 2.5)


def test_the_interval_of_the_mean_covers_it_about_19_times_in_20():
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(3.0, 2.0, 40)) for _ in range(200)]
    covered = np.mean([low <= 3.0 <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.985


def test_the_interval_of_the_mean_of_many_tasks_is_that_of_the_normal_approximation():
    returns = np.random.default_rng(0).normal(5.0, 2.0, size=(400, 1))
    low, high = mean_interval(returns)
    half_width = 1.96 * returns.std() / np.sqrt(400)
    np.testing.assert_allclose([low[0], high[0]], returns.mean() + half_width * np.array([-1, 1]), atol=0.03)


def test_the_mean_and_its_interval_leave_out_tasks_of_unknown_value():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = mean_interval(values)
    assert (low[0], high[0]) == (1.0, 3.0)
    assert np.isnan([low[1], high[1]]).all()
