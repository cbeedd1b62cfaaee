"""Common style of the figures, and their output as files."""

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pearl.files.access import replacing

WIDTH = 8.0  # inches; at DPI that is 1200 pixels
DPI = 150
INK, MUTED, GRID, SHADE = "#2b2b2b", "#6a6a6a", "#e7e7e7", "#f2f2f2"
# Okabe and Ito's colours, which colour-blind readers tell apart; their yellow is too pale for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#000000")
GOAL = PALETTE[1]
EPISODES = LinearSegmentedColormap.from_list("episodes", ["#a9d18e", "#41b6c4", "#225ea8", "#081d58"])
TASKS = "viridis"
MOST_MARKERS = 60
_LEADER = {"arrowstyle": "-", "relpos": (0, 0.5), "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
DASHES = ((0, (5, 3)), (0, (1, 1.8)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5)))

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9a9a9a",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.dpi": DPI,
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "savefig.dpi": DPI,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelsize": 9,
}


@contextmanager
def png(path: str | os.PathLike[str], *, height: float) -> Iterator[Figure]:
    """Give a blank figure, 1200 pixels wide and `height` inches high; write it to `path` when the block ends.

    The block uses this module's style alone; the caller's rcParams have no effect and do not change.

    Raises:
        ValueError: `path` does not end in ".png".
    """
    target = with_suffix(path, ".png")
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replacing(target) as stream:
            figure.savefig(stream, format="png")


def with_suffix(path: str | os.PathLike[str], suffix: str) -> Path:
    """Return `path`, which must end in `suffix`.

    Raises:
        ValueError: the path has another suffix.
    """
    target = Path(path)
    if target.suffix.lower() != suffix:
        raise ValueError(f"path must end in {suffix!r}; found {str(target)!r}")
    return target


def add_header(figure: Figure, title: str, subtitle: str = "") -> None:
    """Add a bold title with a subtitle beneath, flush left; everything else is laid out below them."""
    height = figure.get_size_inches()[1] * 72
    cursor = 8.0
    for text, size, weight, colour, columns in (
        (title, 12.5, "bold", INK, 74),
        (subtitle, 9.5, "normal", MUTED, 108),
    ):
        for line in textwrap.wrap(text, columns):
            figure.text(
                0.012,
                1 - cursor / height,
                line,
                fontsize=size,
                fontweight=weight,
                color=colour,
                va="top",
                parse_math=False,
            )
            cursor += size * 1.4
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, 0, 1, 1 - (cursor + 3) / height))  # type: ignore[call-arg]  # constrained layout has it


def label_right(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write (value, text, colour) right of the axes, at the value's height, moved apart where labels would overlap.

    The axes' limits must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    transform = axes.transData + axes.transAxes.inverted()
    anchors = np.array([float(transform.transform((0.0, value))[1]) for value, _, _ in labels])
    gap = 13.5 / (axes.get_position().height * figure.get_size_inches()[1] * 72)
    order = np.argsort(anchors, kind="stable")
    heights = _spread(anchors[order], gap)
    for index, height in zip(order, heights, strict=True):
        _, text, colour = labels[index]
        axes.annotate(
            textwrap.shorten(text, 28, placeholder="…"),
            xy=(1.0, anchors[index]),
            xytext=(1.025, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=9,
            color=colour,
            va="center",
            parse_math=False,
            arrowprops={**_LEADER, "color": colour},
        )


def _spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Return ascending heights, moved so that neighbours are at least `gap` apart and none is above 1."""
    spread = heights.copy()
    for index in range(1, len(spread)):
        spread[index] = max(spread[index], spread[index - 1] + gap)
    for index in range(len(spread) - 1, -1, -1):
        ceiling = 1.0 if index == len(spread) - 1 else spread[index + 1] - gap
        spread[index] = min(spread[index], ceiling)
    return spread


def draw_references(axes: Axes, references: Mapping[str, float]) -> list[tuple[float, str, str]]:
    """Draw a thin dashed line at each reference value; return the labels for `label_right`."""
    for index, value in enumerate(references.values()):
        axes.axhline(value, color=MUTED, linewidth=1.2, linestyle=DASHES[index % len(DASHES)], zorder=1.5)
    return [(value, label, MUTED) for label, value in references.items()]


def say_if_empty(axes: Axes, values: np.ndarray) -> None:
    """Write "no finite value" across the axes if no value is finite."""
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", va="center", color=MUTED)


def episode_colours(n_episodes: int) -> list[tuple[float, float, float, float]]:
    """Return a colour for each episode, from light (the first) to dark (the last)."""
    return [EPISODES(1.0 if n_episodes == 1 else index / (n_episodes - 1)) for index in range(n_episodes)]


def lone(values: np.ndarray) -> list[int]:
    """Return the indices of values between two gaps, which a line alone would not show."""
    known = np.pad(np.isfinite(values), 1)
    return np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()


def marked(values: np.ndarray) -> list[int]:
    """Return the indices of values to mark with dots: all values if they are few, else the lone ones."""
    return list(range(len(values))) if len(values) <= MOST_MARKERS else lone(values)
