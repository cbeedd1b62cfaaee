"""Comparison of the records of runs, as results hold them."""

import numpy as np

from pearl.studies.results import Runs


def assert_same_runs(runs: Runs, others: Runs) -> None:
    """Assert that two settings have the same seeds and the same records of them; NaN equals NaN."""
    assert list(runs) == list(others)
    for seed, run in runs.items():
        other = others[seed]
        assert (run.commit, run.config, run.measured) == (other.commit, other.config, other.measured)
        np.testing.assert_equal(dict(run.curve), dict(other.curve))
