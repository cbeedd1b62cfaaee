"""Computation that asks nothing of the host: what a device needs to repeat a step by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STATIC: ContextVar[bool] = ContextVar("static_shapes", default=False)


@contextmanager
def static_shapes() -> Iterator[None]:
    """Within it no shape depends on a tensor's values and no value is read back, so that a CUDA graph can be captured.

    Values are the same to rounding: padding is computed and then set to zero, where otherwise it is left out.
    """
    token = _STATIC.set(True)
    try:
        yield
    finally:
        _STATIC.reset(token)


def shapes_are_static() -> bool:
    """Whether the code that asks runs within ``static_shapes``."""
    return _STATIC.get()
