"""How many threads a process computes with: for scripts to set, which is why importing the library sets nothing."""

import threadpoolctl
import torch


def use_threads(count: int) -> None:
    """Let PyTorch and NumPy's products use ``count`` threads each."""
    torch.set_num_threads(count)
    threadpoolctl.threadpool_limits(count, user_api="blas")
