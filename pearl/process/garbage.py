"""Pauses of Python's garbage collection."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection within the block.

    An import makes hundreds of thousands of objects, none of which is garbage. Scanning them repeatedly takes about a
    tenth of the time of importing torch and `pearl`. After the block the objects count as old ones, so that the next
    collection of young objects does not scan them either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # Otherwise unfreeze would also thaw what somebody else froze.
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
