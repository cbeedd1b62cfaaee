"""Metaworld's benchmarks with few goals, for tests that build them."""

import metaworld
import pytest

from pearl.tasks.families import metaworld as families_of_metaworld


@pytest.fixture(scope="module")
def few_goals():
    """Let benchmarks have 3 goals per environment, not 50: they take seconds to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metaworld, "_N_GOALS", 3)
        families_of_metaworld._task_sets.cache_clear()
        yield 3
    families_of_metaworld._task_sets.cache_clear()
