"""Measure how fast PEARL is here: the meta-gradient step, acting, replay, checkpoints, start-up and memory.

    python experiments/benchmark.py
    python experiments/benchmark.py --only step collection
    make bench ARGS="--only step"

Everything that is compared is measured in turns in this one run: our step in float32 and in bfloat16, a textbook step
(textbook.py) and the floor, which is the step's matrix products alone. The machine should have nothing else to do. The
figures are medians with their quartiles; they are printed, and written as JSON with a picture beside it.
"""

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import benchmark_learning as learning
import benchmark_running as running
import torch
import tyro
from benchmark_measure import Figure, peak_memory_mib
from benchmark_precision import precision
from benchmark_recurrence import recurrence
from matplotlib.axes import Axes
from reproduce import commit
from rich.table import Table
from rich.text import Text

from pearl.model.saving import versions
from pearl.plots.style import PALETTE, add_header, png
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
DRAWN = {
    "step": "Meta-gradient step, reference sizes",
    "presets": "Meta-gradient step, presets",
    "context": "Step as contexts grow",
    "tasks": "Meta-batches of 10 as tasks grow in number",
    "recurrence": "Learning from whole trials by a recurrent unit",
    "adaptation": "Adaptation, each environment step",
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure, print a table and write the figures."""

    out: Path = Path("results/benchmark.json")
    """JSON file for the figures; a picture of the same name is written beside it."""
    only: tuple[Section, ...] = ()
    """Sections to measure; all where none is named."""
    quick: bool = False
    """A few repetitions at few sizes: whether it works, not how fast it is."""
    threads: int = 1
    """CPU threads, as train.py uses by default."""

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
    """Return what the figures depend on."""
    try:
        checked_out = commit()
    except (OSError, subprocess.CalledProcessError):  # no git here, or no clone
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
    """Return the processor's name, with what says that it multiplies bfloat16 itself."""
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


def table(found: Mapping[str, Sequence[Figure]]) -> Table:
    """Return every figure, a line each, under its section and setting."""
    lines = Table("figure", box=None, pad_edge=False)
    for column in ("median", "quartiles", ""):
        lines.add_column(column, justify="right" if column else "left")
    for name, figures in found.items():
        setting = None
        for figure in figures:
            if figure.setting != setting:
                setting = figure.setting
                lines.add_row(Text.assemble((name, "bold"), f" · {setting}"))
            quartiles = "" if figure.n == 1 else f"{rounded(figure.low)} – {rounded(figure.high)}"
            lines.add_row(f"  {figure.what}", rounded(figure.median), quartiles, figure.unit)
    return lines


def rounded(value: float) -> str:
    """Return ``value`` to three digits, or to the unit."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def draw(path: Path, found: Mapping[str, Sequence[Figure]], report: Mapping[str, Any]) -> Path | None:
    """Draw the sections that a picture says more of than a table; return where, or None if none was measured."""
    panels = {name: title for name, title in DRAWN.items() if name in found}
    if not panels:
        return None
    bars = {name: [figure for figure in found[name] if figure.unit in ("ms", "µs")] for name in panels}
    heights = [0.9 + 0.17 * len(bars[name]) for name in panels]
    with png(path, height=sum(heights) + 1.0) as picture:
        grid = picture.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, (name, title) in zip(grid[:, 0], panels.items(), strict=True):
            draw_bars(axes, bars[name], title)
        machine = report["machine"]
        add_header(
            picture,
            "How long things take",
            f"medians with quartiles; {machine['processor']}, threads: {machine['threads']}; {report['date'][:10]}",
        )
    return path


def draw_bars(axes: Axes, figures: Sequence[Figure], title: str) -> None:
    """Draw a bar for each figure, of one colour for each thing measured, in groups of one setting."""
    colours = colour_of(figure.what for figure in figures)
    settings = list(dict.fromkeys(figure.setting for figure in figures))
    heights = [number + 0.7 * settings.index(figure.setting) for number, figure in enumerate(figures)]
    medians = [figure.median for figure in figures]
    spread = [[figure.median - figure.low for figure in figures], [figure.high - figure.median for figure in figures]]
    axes.barh(heights, medians, color=[colours[figure.what] for figure in figures], height=0.85)
    axes.errorbar(medians, heights, xerr=spread, fmt="none", ecolor="#2b2b2b", elinewidth=0.9)
    axes.set_yticks(heights, [f"{figure.setting}: {figure.what}" for figure in figures], fontsize=7)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title(title)
    axes.set_xlabel(figures[0].unit)
    if max(medians) > 30 * min(medians):
        axes.set_xscale("log")


def colour_of(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of the different names."""
    return {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(dict.fromkeys(names))}


if __name__ == "__main__":
    protect_output()
    assert set(SECTIONS) == set(get_args(Section))
    sys.exit(main(tyro.cli(Arguments)))
