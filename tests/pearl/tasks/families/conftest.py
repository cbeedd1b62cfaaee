"""Fixtures of the tests of the families."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def few_goals() -> Iterator[int]:
    """Let Metaworld's benchmarks have 3 goals per environment, not 50: they take seconds to draw."""
    # Here and not above: the tests of other families need no Metaworld.
    import metaworld

    from pearl.tasks.families import metaworld as families_of_metaworld

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metaworld, "_N_GOALS", 3)
        families_of_metaworld._task_sets.cache_clear()
        yield 3
    families_of_metaworld._task_sets.cache_clear()
