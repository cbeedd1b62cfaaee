"""Removal of gaps from contexts, for encoders that depend on the order of transitions."""

import torch
from torch import Tensor


def without_gaps(rows: Tensor, mask: Tensor, *, newest_last: bool = False) -> tuple[Tensor, Tensor]:
    """Move each task's present rows together, in their order, and all padding to one side.

    Args:
        rows: (task, step, width).
        mask: (task, step) bool, False for padding.
        newest_last: whether padding comes first, so that the newest row is the last one; otherwise it comes last.

    Returns:
        Rows and mask, of the same shapes.
    """
    absent = mask if newest_last else ~mask
    # As numbers, because not every device can sort bools.
    order = absent.to(torch.uint8).argsort(dim=1, stable=True)
    return rows.take_along_dim(order.unsqueeze(-1), dim=1), mask.take_along_dim(order, dim=1)
