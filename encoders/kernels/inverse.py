"""Inverses of positive definite matrices, on any device and within CUDA graphs."""

from typing import Any

import torch
from torch import Tensor

from encoders.kernels.static_shapes import shapes_are_static


def inverse_of_positive_definite(matrices: Tensor) -> Tensor:
    """Return the inverses, (…, dim, dim), of symmetric positive definite matrices (…, dim, dim).

    Library routines report their success to the host, and a CUDA graph cannot contain cuSOLVER's calls. Within
    ``static_shapes``, plain products replace them.
    """
    if shapes_are_static():
        found: Tensor = _Elimination.apply(matrices)  # type: ignore[no-untyped-call]
        return found
    inverses: Tensor = torch.linalg.inv(matrices)
    return inverses


class _Elimination(torch.autograd.Function):
    """Gauss-Jordan elimination. Positive definite matrices need no exchange of rows (Higham 2002)."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        dim = matrices.shape[-1]
        identity = torch.eye(dim, dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
        joined = torch.cat([matrices, identity], dim=-1)
        for pivot in range(dim):
            row = joined[..., pivot, :] / joined[..., pivot, pivot].unsqueeze(-1)
            joined = torch.addcmul(joined, joined[..., pivot].unsqueeze(-1), row.unsqueeze(-2), value=-1.0)
            joined[..., pivot, :] = row
        inverses = joined[..., dim:].contiguous()
        ctx.save_for_backward(inverses)
        return inverses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        inverses: Tensor = ctx.saved_tensors[0]
        return -(inverses.mT @ gradient @ inverses.mT)
