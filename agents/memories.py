"""Memories as nested tuples of tensors with a row per task."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def repeat(memory: Any, rows: int) -> Any:
    """Repeat a one-row memory to ``rows`` rows."""
    if isinstance(memory, Tensor):
        return memory.expand(rows, *memory.shape[1:])
    return _like(memory, [repeat(part, rows) for part in memory])


def leaves(memory: Any) -> Iterator[Tensor]:
    """Return every tensor of a memory."""
    if isinstance(memory, Tensor):
        yield memory
    else:
        for part in memory:
            yield from leaves(part)


def where_rows(active: Tensor, new: Any, old: Any) -> Any:
    """Take each task's row from ``new`` where ``active`` (task,) is True, else from ``old``."""
    if isinstance(new, Tensor):
        return torch.where(active.view(-1, *[1] * (new.dim() - 1)), new, old)
    return _like(new, [where_rows(active, *pair) for pair in zip(new, old, strict=True)])


def _like(memory: Any, parts: list[Any]) -> Any:
    return type(memory)(*parts) if hasattr(memory, "_fields") else tuple(parts)
