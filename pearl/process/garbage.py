"""Python's search for garbage, put off while there is none to be found."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Search for no garbage within the block.

    An import makes objects by the hundred thousand, and all of them stay: going through them again and again takes
    about a tenth of the time that importing torch and `pearl` takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
