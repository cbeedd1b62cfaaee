"""Contexts without their gaps, for encoders to which the order of transitions matters."""

import torch
from torch import Tensor


def without_gaps(rows: Tensor, mask: Tensor, *, newest_last: bool = False) -> tuple[Tensor, Tensor]:
    """Move together what is there of each task, in its order, and all padding to one side.

    Args:
        rows: (task, step, width).
        mask: (task, step) bool, False for padding.
        newest_last: padding comes first, so that the newest row is the last one; where not, padding comes behind.

    Returns:
        Rows and mask, of the same shapes.
    """
    absent = mask if newest_last else ~mask
    # As numbers, for not every device sorts truth values.
    order = absent.to(torch.uint8).argsort(dim=1, stable=True)
    return rows.take_along_dim(order.unsqueeze(-1), dim=1), mask.take_along_dim(order, dim=1)
