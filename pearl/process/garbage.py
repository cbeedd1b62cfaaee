"""Pauses of Python's garbage collection."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection within the block.

    An import makes hundreds of thousands of objects, none of which is garbage. Scanning them repeatedly takes about a
    tenth of the time of importing torch and `pearl`.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
