"""Paths of an agent in the plane, episode by episode."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from pearl.plots.arrays import FloatArray, as_array
from pearl.plots.style import GOAL, INK, MUTED, WIDTH, add_header, episode_colours, png

MOST_LEGEND_ENTRIES = 8
MOST_COLUMNS = 4
_START: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 5, "linestyle": "none", "markeredgecolor": "white"}
_GOAL: dict[str, Any] = {
    "color": GOAL,
    "marker": "*",
    "markersize": 11,
    "linestyle": "none",
    "markeredgecolor": "white",
}


def trajectories(
    path: str | os.PathLike[str],
    positions: Sequence[Sequence[ArrayLike]],
    goals: ArrayLike,
    *,
    goal_radius: float | None,
    half_circle: bool,
    titles: Sequence[str],
    title: str = "Trajectories on test tasks, episode by episode",
    unit: str = "",
) -> Path:
    """Draw the paths of an agent, one panel per task, each episode darker than the one before.

    Args:
        path: the PNG file to write.
        positions: for each task, for each episode, the positions visited, (step + 1, 2).
        goals: (task, 2).
        goal_radius: the distance within which the goal counts as reached, drawn as a disc; None for no disc.
        half_circle: draw the upper half circle around the origin on which the goals lie, at their mean distance.
        titles: a title for each panel.
        title: the figure's title.
        unit: the positions' unit, for the axes; empty for none.

    Raises:
        ValueError: a shape is wrong, or `positions`, `goals` and `titles` disagree on the number of tasks.
    """
    checked_goals = as_array("goals", goals, ("task", "2"))
    n_tasks = len(checked_goals)
    if len(positions) != n_tasks or len(titles) != n_tasks:
        raise ValueError(
            "positions, goals and titles must have one entry per task; found "
            f"{len(positions)}, {n_tasks} and {len(titles)}"
        )
    paths = [as_paths(f"positions[{task}]", episodes) for task, episodes in enumerate(positions)]
    n_episodes = max(len(episodes) for episodes in paths)
    circle = half_circle_through(checked_goals) if half_circle else None
    limits = plane_limits([way for episodes in paths for way in episodes], checked_goals, goal_radius, circle)
    rows = -(-n_tasks // MOST_COLUMNS)
    columns = -(-n_tasks // rows)
    panel_height = (WIDTH / columns - 0.5) * float(np.clip(height_over_width(limits), 0.4, 1.0)) + 0.3
    with png(path, height=rows * panel_height + 1.6) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= n_tasks:
                axes.set_axis_off()
                continue
            draw_paths(axes, paths[index], checked_goals[index], n_episodes, goal_radius, circle)
            axes.set(xlim=limits[0], ylim=limits[1])
            axes.set_title(titles[index], fontsize=9, parse_math=False)
            axes.label_outer()
        for axes in grid.flat[max(0, n_tasks - columns) : n_tasks]:
            axes.set_xlabel(position_label("x", unit))
            axes.tick_params(labelbottom=True)
        for axes in grid[:, 0]:
            axes.set_ylabel(position_label("y", unit))
        add_episode_key(figure, list(grid.flat), n_episodes, columns=7)
        reached = (
            "" if goal_radius is None else f"; disc: within {goal_radius:g}{f' {unit}' if unit else ''} of the goal"
        )
        add_header(figure, title, f"light to dark: first to last episode{reached}")
    return Path(path)


def as_paths(name: str, episodes: Sequence[ArrayLike]) -> list[FloatArray]:
    """Return the paths of one task's episodes, each (step + 1, 2).

    Raises:
        ValueError: there is no episode, or a path has another shape.
    """
    if len(episodes) == 0:
        raise ValueError(f"{name} is empty: give the positions of at least one episode, (step + 1, 2)")
    return [as_array(f"{name}[{index}]", episode, ("step + 1", "2")) for index, episode in enumerate(episodes)]


def half_circle_through(goals: FloatArray) -> FloatArray:
    """Return the upper half circle around the origin, (point, 2), at the mean distance of the goals, (task, 2)."""
    angles = np.linspace(0.0, np.pi, 181)
    distances = np.hypot(goals[:, 0], goals[:, 1])
    known = distances[np.isfinite(distances)]
    return (known.mean() if known.size else 1.0) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def plane_limits(
    paths: Sequence[FloatArray], goals: FloatArray, goal_radius: float | None, circle: FloatArray | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the limits of x and y, with a margin around every path, goal disc and half circle."""
    radius = goal_radius or 0.0
    points = np.concatenate([*paths, goals - radius, goals + radius, *([] if circle is None else [circle])])
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        points = np.zeros((1, 2))
    low, high = points.min(0), points.max(0)
    margin = 0.06 * float((high - low).max()) or 1.0
    # Otherwise a path along one axis would get a panel as flat as a line.
    short = np.maximum(0.0, 0.4 * (high - low).max() - (high - low)) / 2
    low, high = low - margin - short, high + margin + short
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def height_over_width(limits: tuple[tuple[float, float], tuple[float, float]]) -> float:
    """Return the ratio of height to width of the plane within these limits."""
    (left, right), (bottom, top) = limits
    return (top - bottom) / (right - left)


def draw_paths(
    axes: Axes,
    episodes: Sequence[FloatArray],
    goal: FloatArray,
    n_episodes: int,
    goal_radius: float | None,
    circle: FloatArray | None,
) -> None:
    """Draw one task's episodes, each (step + 1, 2), its goal (2,) and the half circle (point, 2) it lies on."""
    if circle is not None:
        axes.plot(*circle.T, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.7, zorder=1.5)
    if goal_radius:
        axes.add_patch(Circle((goal[0], goal[1]), goal_radius, facecolor=GOAL, alpha=0.18, linewidth=0, zorder=1.6))
        axes.add_patch(Circle((goal[0], goal[1]), goal_radius, fill=False, edgecolor=GOAL, linewidth=0.9, zorder=1.7))
    for index, (way, colour) in enumerate(zip(episodes, episode_colours(n_episodes), strict=False)):
        axes.plot(*way.T, color=colour, linewidth=1.5, zorder=3 + 0.01 * index)
        axes.plot(*way[-1], color=colour, marker="o", markersize=3.5, zorder=3.005 + 0.01 * index)
        axes.plot(*way[0], **_START, zorder=6)
    axes.plot(goal[0], goal[1], **_GOAL, zorder=7)
    axes.set_aspect("equal")


def position_label(axis: str, unit: str) -> str:
    """Return the label of axis x or y."""
    return f"{axis} position ({unit})" if unit else f"{axis} position"


def add_episode_key(figure: FigureBase, axes: Sequence[Axes], n_episodes: int, *, columns: int) -> None:
    """Add a legend of the marks and colours beneath a figure of paths, in up to `columns` columns.

    Each episode has an entry; more than 8 episodes share a colour bar.
    """
    handles = [Line2D([], [], label="start", **_START), Line2D([], [], label="goal", **_GOAL)]
    if n_episodes > MOST_LEGEND_ENTRIES:
        _add_episode_bar(figure, axes, n_episodes)
    else:
        handles += [
            Line2D([], [], color=colour, linewidth=2.5, label=f"episode {index}")
            for index, colour in enumerate(episode_colours(n_episodes), start=1)
        ]
    rows = -(-len(handles) // columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows), handlelength=1.4)


def _add_episode_bar(figure: FigureBase, axes: Sequence[Axes], n_episodes: int) -> None:
    norm = BoundaryNorm(np.arange(n_episodes + 1) + 0.5, n_episodes)
    mappable = ScalarMappable(norm, ListedColormap(episode_colours(n_episodes)))
    bar = figure.colorbar(mappable, ax=axes, location="bottom", shrink=0.5, aspect=40, label="episode")
    stride = -(-n_episodes // 10)
    bar.set_ticks(list(range(1, n_episodes + 1, stride)))
    bar.ax.minorticks_off()
