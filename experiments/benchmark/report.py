"""The table and the picture of the measured figures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from rich.table import Table
from rich.text import Text

from benchmark.measure import Figure
from pearl.plots.style import PALETTE, add_header, png

DRAWN = {
    "step": "Meta-gradient step, reference sizes",
    "presets": "Meta-gradient step, presets",
    "context": "Step as contexts grow",
    "tasks": "Meta-batches of 10 as tasks grow in number",
    "recurrence": "Learning from whole trials by a recurrent unit",
    "adaptation": "Adaptation, each environment step",
}


def table(found: Mapping[str, Sequence[Figure]]) -> Table:
    """Return the table of all figures, one per line, by section and setting."""
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
    """Draw the sections that suit a picture; return its path, or None if none of them was measured."""
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
    """Draw a bar for each figure, grouped by setting and coloured by measured quantity."""
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
