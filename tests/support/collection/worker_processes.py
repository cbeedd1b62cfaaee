"""What the tests of worker processes share: starting workers that a test's end closes, and waiting for their end."""

import multiprocessing
import time
from pathlib import Path

import pytest

PATIENCE_S = 30.0
TIMEOUT_S = None
"""How long started workers are waited for"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def alive(pid):
    """Whether a process runs; a zombie counts, which somebody should have waited for."""
    return Path(f"/proc/{pid}").exists()


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ended(pids):
    return eventually(lambda: not multiprocessing.active_children() and not any(map(alive, pids)))
