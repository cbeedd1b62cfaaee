"""Fixtures of the tests of runs and trackers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearl.evaluation import protocol as evaluation
from tests.support.runs.trackers import clean_environment


@pytest.fixture
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that has to stay empty, without settings of W&B in the environment."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    yield folder
    assert list(folder.iterdir()) == [], "a test wrote into the working directory"


@pytest.fixture
def fresh_wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let wandb read its settings anew, as in a process that has not started a run."""
    import wandb

    wandb.teardown()
    yield
    monkeypatch.undo()
    wandb.teardown()


@pytest.fixture(scope="module")
def few_reference_episodes() -> Iterator[None]:
    """Evaluations that play each reference policy for two episodes only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "REFERENCE_EPISODES", 2)
        yield
