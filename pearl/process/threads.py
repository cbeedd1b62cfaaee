"""Number of compute threads; only scripts set it, importing the library does not."""

import threadpoolctl
import torch


def use_threads(count: int) -> None:
    """Let PyTorch and NumPy's BLAS use ``count`` threads each.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"threads must be at least 1, got {count}.")
    torch.set_num_threads(count)
    threadpoolctl.threadpool_limits(count, user_api="blas")
