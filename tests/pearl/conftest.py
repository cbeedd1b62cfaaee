"""Fixtures of more than one file here, each for the files that ask for it by its name."""

import pytest


@pytest.fixture(scope="module")
def quickly():
    """Let runs draw nothing and measure a random policy briefly: these take longer than all else in a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pearl.evaluation.protocol.REFERENCE_EPISODES", 2)
        patch.setattr("pearl.runs.run.Run.draw", lambda run, evaluation: [])
        yield


@pytest.fixture(scope="module")
def whole(quickly, tmp_path_factory):
    """A run that nothing disturbed."""
    # Here and not above, where it would cost every other file a second.
    from tests.support.runs.run_folders import model_of, run_in

    run = run_in(tmp_path_factory.mktemp("whole"), model_of())
    run.train()
    return run
