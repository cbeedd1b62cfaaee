"""What the tests of worker processes share: looking for processes, and waiting for their end."""

import multiprocessing
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

PATIENCE_S = 30.0
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie counts, which somebody should have waited for."""
    return Path(f"/proc/{pid}").exists()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ended(pids: Iterable[int]) -> bool:
    return eventually(lambda: not multiprocessing.active_children() and not any(map(alive, pids)))
