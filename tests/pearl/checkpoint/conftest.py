"""Fixtures of the tests of checkpoints."""

from pathlib import Path

import pytest

from tests.support.checkpoint.checkpoints import save_example


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of a saved example."""
    return save_example(tmp_path / "runs" / "mine")
