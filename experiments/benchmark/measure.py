"""Methods of measurement: candidates in turns, medians with quartiles, fresh processes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured quantity."""

    setting: str
    """Sizes, family or number of tasks of the measurement"""
    what: str
    unit: str
    median: float
    low: float
    """Lower quartile"""
    high: float
    """Upper quartile"""
    n: int
    """Number of measurements"""


def figure(setting: str, what: str, unit: str, values: ArrayLike) -> Figure:
    """Return the median and the quartiles of ``values``."""
    measured = np.atleast_1d(np.asarray(values, np.float64))
    low, median, high = np.percentile(measured, [25, 50, 75])
    return Figure(
        setting=setting, what=what, unit=unit, median=float(median), low=float(low), high=float(high), n=len(measured)
    )


def in_turns(candidates: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 2) -> dict[str, Seconds]:
    """Call every candidate once in each round, and return the time of each call in seconds, (round,).

    A temporary slowdown of the machine then affects all candidates. Each round begins with another candidate.

    Args:
        candidates: functions to call, by name.
        rounds: measured calls of each candidate.
        warm_up: unmeasured rounds before the measured ones.
    """
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            begun = time.perf_counter()
            candidates[name]()
            taken = time.perf_counter() - begun
            if number >= warm_up:
                seconds[name].append(taken)
    return {name: np.array(values) for name, values in seconds.items()}


def fresh_process(code: str) -> str:
    """Run Python code in a new process with the same modules; return its output.

    Raises:
        RuntimeError: the process failed; the message contains its error.
    """
    paths = [os.path.abspath(path) for path in sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "WANDB_MODE": "disabled"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if result.returncode != 0 or not result.stdout.strip():
        raise RuntimeError(f"A process of the benchmark failed ({result.returncode}): {result.stderr[-2000:]}\n{code}")
    return result.stdout


def peak_memory_mib() -> float:
    """Return this process's peak memory in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, getrusage includes memory of the parent process.
        return _status_kib(status, "VmHWM") / 1024
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib


def resident_memory_mib() -> float:
    """Return this process's current memory in MiB, or its peak memory if the system does not report it."""
    status = Path("/proc/self/status")
    return _status_kib(status, "VmRSS") / 1024 if status.exists() else peak_memory_mib()


def _status_kib(status: Path, name: str) -> float:
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return float(line.split()[1])
