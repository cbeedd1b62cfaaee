"""The statistics and the table of a study of variants, from runs as the results hold them."""

import numpy as np

from pearl.studies.results import FamilyResults, RunRecord, Setting, value_column
from pearl.studies.variants import by_variant, final_value, mean_over_training, table


def run_of(*value, steps=(0, 10, 20)):
    """A run whose score at each evaluation is given."""
    curve = {"env_steps": np.array(steps, float), "test/score": np.array(value)}
    return RunRecord(commit="0" * 40, config={}, curve=curve)


def test_the_value_on_the_way_is_the_mean_over_environment_steps():
    runs = {0: run_of(0.0, 1.0, 1.0, steps=(0, 10, 40))}
    assert mean_over_training(runs).tolist() == [(5 + 30) / 40]
    assert final_value(runs).tolist() == [1.0]


def test_the_table_counts_the_seeds_ahead_of_the_plain_setting_with_the_same_seed():
    found = {
        "plain": {0: run_of(0.0, 0.0, 1.0), 1: run_of(0.0, 0.5, 0.5)},
        "two-fold": {1: run_of(0.0, 0.25, 0.75), 0: run_of(0.0, 0.25, 0.75), 2: run_of(0.0, 1.0, 1.0)},
    }
    assert table(found).splitlines()[2:] == [
        "| plain | 0.500 (0.500 to 0.500) | 0.312 (0.250 to 0.375) | |",
        "| two fold | 0.667 (0.500 to 1.000) | 0.458 (0.312 to 0.750) | +0.000, 1 of 2 |",
    ]


def test_the_table_gives_returns_in_whole_numbers_and_a_single_seed_without_a_range():
    found = {"plain": {0: run_of(-1200.0, -400.4, -200.4)}, "worse": {0: run_of(-1200.0, -600.0, -400.0)}}
    assert table(found).splitlines()[2:] == [
        "| plain | −300 | −550 | |",
        "| worse | −500 | −700 | −150, 0 of 1 |",
    ]


def test_a_variant_that_shares_no_seed_with_the_plain_setting_is_compared_with_nothing():
    found = {"plain": {0: run_of(0.0, 0.0, 1.0)}, "other": {3: run_of(0.0, 0.0, 1.0)}}
    assert table(found).splitlines()[3] == "| other | 0.500 | 0.250 | |"


def test_the_plain_setting_comes_first_and_then_the_best_on_the_way():
    values = {"b": 0.1, "plain": 0.2, "c": 0.3, "a": 0.3}
    runs = {Setting("s", name, "pearl"): {0: run_of(0.0, value, value)} for name, value in values.items()}
    runs[Setting("another study", "d", "pearl")] = {0: run_of(0.0, 0.0, 0.0)}
    assert list(by_variant(FamilyResults(runs=runs), "s")) == ["plain", "a", "c", "b"]


def test_without_a_score_the_value_is_the_last_episodes_return():
    curve = {
        name: np.zeros(1) for name in ("env_steps", "test/return_ep2", "test/return_ep10", "test/posterior_stddev")
    }
    assert value_column(curve) == "test/return_ep10"
    assert value_column(curve | {"test/score": np.zeros(1)}) == "test/score"
