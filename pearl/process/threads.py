"""How many threads a process computes with: for scripts to set, which is why importing the library sets nothing."""

import threadpoolctl
import torch


def use_threads(count: int) -> None:
    """Let PyTorch and NumPy's products use ``count`` threads each.

    Raises:
        ValueError: fewer than one.
    """
    if count < 1:
        raise ValueError(f"threads must be at least 1, got {count}.")
    torch.set_num_threads(count)
    threadpoolctl.threadpool_limits(count, user_api="blas")
