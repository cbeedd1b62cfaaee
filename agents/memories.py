"""Memories: nested tuples of tensors with one row per task."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

Rows: TypeAlias = "Tensor | tuple[Rows, ...]"
"""A tensor, or a nested (named) tuple of tensors; the first dimension of each tensor is the task"""
RowsT = TypeVar("RowsT", bound=Rows)


def repeat(memory: RowsT, rows: int) -> RowsT:
    """Repeat a one-row memory to ``rows`` rows."""
    repeated: RowsT = _each(lambda tensor: tensor.expand(rows, *tensor.shape[1:]), memory)
    return repeated


def shifted(memory: RowsT) -> RowsT:
    """Give each task the row of the task before it, and the first task the last one's."""
    rolled: RowsT = _each(lambda tensor: tensor.roll(1, dims=0), memory)
    return rolled


def leaves(memory: Rows) -> Iterator[Tensor]:
    """Return every tensor of a memory."""
    if isinstance(memory, Tensor):
        yield memory
    else:
        for part in memory:
            yield from leaves(part)


def where_rows(active: Tensor, new: RowsT, old: RowsT) -> RowsT:
    """Take each task's row from ``new`` where ``active`` (task,) is True, else from ``old``."""

    def chosen(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(active.view(-1, *[1] * (first.dim() - 1)), first, second)

    rows: RowsT = _each(chosen, new, old)
    return rows


def _each(function: Callable[..., Tensor], *memories: Any) -> Any:
    """Apply ``function`` to the corresponding tensors of the memories; return a memory of the results."""
    first = memories[0]
    if isinstance(first, Tensor):
        return function(*memories)
    parts = [_each(function, *each) for each in zip(*memories, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
