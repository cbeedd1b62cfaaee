"""Computation without synchronising with the host, for steps captured in a CUDA graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STATIC: ContextVar[bool] = ContextVar("static_shapes", default=False)


@contextmanager
def static_shapes() -> Iterator[None]:
    """Make shapes independent of tensors' values, and read no value back, so that a CUDA graph can be captured.

    Results are equal up to rounding. Padding is computed and then set to zero; outside this context it is skipped.
    """
    token = _STATIC.set(True)
    try:
        yield
    finally:
        _STATIC.reset(token)


def shapes_are_static() -> bool:
    """Whether the caller runs within ``static_shapes``."""
    return _STATIC.get()
