"""Benchmark PEARL on this machine: the meta-gradient step, acting, replay, checkpoints, start-up and memory.

    python experiments/bench.py
    python experiments/bench.py --only step collection
    make bench ARGS="--only step"

One run measures all candidates in turns: our step in float32 and in bfloat16, a textbook step (benchmark/textbook.py),
and the floor, the time of the step's matrix products alone. No other process should be running. The figures are medians
with quartiles; the script prints them, writes them as JSON and draws a picture.
"""

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro
from benchmark import learning, running
from benchmark.measure import Figure, peak_memory_mib
from benchmark.precision import precision
from benchmark.recurrence import recurrence
from benchmark.report import draw, table
from reproduce import commit

from pearl.model.saving import versions
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.run import write_json

Section = Literal[
    "step",
    "presets",
    "context",
    "tasks",
    "replay",
    "precision",
    "recurrence",
    "gpu",
    "collection",
    "evaluation",
    "adaptation",
    "checkpoint",
    "startup",
    "memory",
]
SECTIONS: dict[Section, Callable[[bool], Iterator[Figure]]] = {
    "step": learning.step,
    "presets": learning.presets,
    "context": learning.context,
    "tasks": learning.tasks,
    "replay": learning.replay,
    "precision": precision,
    "recurrence": recurrence,
    "gpu": learning.gpu,
    "collection": running.collection,
    "evaluation": running.evaluation,
    "adaptation": running.adaptation,
    "checkpoint": running.checkpoint,
    "startup": running.startup,
    "memory": running.memory,
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure, print a table and write the figures."""

    out: Path = Path("results/benchmark.json")
    """JSON file for the figures; a picture of the same name is written beside it."""
    only: tuple[Section, ...] = ()
    """Sections to measure; all by default."""
    quick: bool = False
    """Run a few repetitions at few sizes: a test of the benchmark, without meaningful figures."""
    threads: int = 1
    """CPU threads; the default is that of train.py."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {self.threads}.")
        if self.out.suffix != ".json":
            raise ValueError(f"--out must be a .json file, got {self.out}.")


def main(arguments: Arguments) -> int:
    """Measure, and return the process's exit code."""
    use_threads(arguments.threads)
    console = make_console()
    names = [name for name in SECTIONS if not arguments.only or name in arguments.only]
    report: dict[str, Any] = about(arguments)
    found: dict[str, list[Figure]] = {}
    for name in names:
        with console.status(f"Measuring {name} ({len(found) + 1} of {len(names)})"):
            found[name] = list(SECTIONS[name](arguments.quick))
    report["peak_memory_mib"] = peak_memory_mib()
    report["sections"] = {name: [dataclasses.asdict(figure) for figure in found[name]] for name in found}
    console.print(table(found))
    write_json(arguments.out, report)
    console.print(f"  {arguments.out}", highlight=False, soft_wrap=True)
    with warn_on_failure("the figures were not drawn"):
        if picture := draw(arguments.out.with_suffix(".png"), found, report):
            console.print(f"  {picture}", highlight=False, soft_wrap=True)
    return 0


def about(arguments: Arguments) -> dict[str, Any]:
    """Return the machine and the versions that the figures depend on."""
    try:
        checked_out = commit()
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or this is not a clone
        checked_out = "unknown"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": checked_out,
        "versions": versions(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": arguments.threads,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": platform.platform(),
            "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        },
        "quick": arguments.quick,
    }


def processor() -> str:
    """Return the processor's name and its instructions for bfloat16."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    fields = {
        name.strip(): value.strip()
        for name, colon, value in (line.partition(":") for line in cpuinfo.read_text().splitlines())
        if colon
    }
    units = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split()]
    name = fields.get("model name", platform.machine())
    return f"{name} ({', '.join(units)})" if units else name


if __name__ == "__main__":
    protect_output()
    assert set(SECTIONS) == set(get_args(Section))
    sys.exit(main(tyro.cli(Arguments)))
