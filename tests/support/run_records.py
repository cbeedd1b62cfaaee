"""Comparison of the records of runs, as results hold them."""

import numpy as np


def assert_same_runs(runs, others):
    """Assert that two settings have the same seeds and the same records of them; NaN equals NaN."""
    assert list(runs) == list(others)
    for seed, run in runs.items():
        other = others[seed]
        assert (run.commit, run.config, run.measured) == (other.commit, other.config, other.measured)
        np.testing.assert_equal(dict(run.curve), dict(other.curve))
