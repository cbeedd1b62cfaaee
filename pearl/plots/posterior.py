"""Figures of the posterior q(z | c): its means by task, and its spread by the number of transitions seen."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from pearl.evaluation.statistics import quantiles
from pearl.plots.arrays import FloatArray, as_array, as_increasing
from pearl.plots.style import MUTED, PALETTE, TASKS, WIDTH, add_header, marked, png, say_if_empty

MOST_TASK_VALUES = 6


def posterior_means(
    path: str | os.PathLike[str],
    means: ArrayLike,
    *,
    task_values: ArrayLike,
    task_value_name: str | Sequence[str],
    title: str = "Posterior means of test tasks",
) -> Path:
    """Draw the posterior mean of each task in the means' first two principal components, coloured by the true task.

    A one-dimensional z is drawn as it is, against the task's value.

    Args:
        path: the PNG file to write.
        means: posterior mean after adaptation, (task, latent).
        task_values: parameters of the tasks, (task,) or (task, value); each of up to 6 values has a panel.
        task_value_name: a name, or one name for each value, with the unit.
        title: the figure's title.

    Raises:
        ValueError: a shape is wrong, a mean is not finite, or names and values differ in number.
    """
    points = as_array("means", means, ("task", "latent"))
    if np.isnan(points).any():
        raise ValueError("means must be finite: principal components are not defined otherwise")
    n_tasks = str(len(points))
    if np.ndim(task_values) == 1:
        values = as_array("task_values", task_values, (n_tasks,))[:, None]
    else:
        values = as_array("task_values", task_values, (n_tasks, "value"))
    names = _value_names(task_value_name, values.shape[1])
    strip = points.shape[1] == 1
    coordinates, explained = (points, np.ones(1)) if strip else principal_components(points)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    low, high = coordinates.min(0), coordinates.max(0)
    flatness = 0.5 if strip else float(np.clip((high[1] - low[1]) / max(high[0] - low[0], 1e-12), 0.5, 0.75))
    with png(path, height=rows * (0.9 * WIDTH / columns * flatness + 0.9) + 0.7) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(names):
                axes.set_axis_off()
                continue
            across = values[:, index] if strip else coordinates[:, 1]
            _scatter(figure, axes, coordinates[:, 0], across, values[:, index], names[index])
            axes.set_xlabel("posterior mean of z" if strip else _component_name(1, explained))
            if strip:
                axes.set_ylabel(names[index])
            else:
                # Distances in z have the same scale along both components.
                axes.set_aspect("equal", adjustable="datalim")
                axes.set_ylabel(_component_name(2, explained) if index % columns == 0 else "")
        shown = "z has one dimension"
        if not strip:
            shown = f"two principal components of the {points.shape[1]}-dimensional z, with their share of variance"
        add_header(figure, title, f"one dot per task ({n_tasks}); {shown}")
    return Path(path)


def principal_components(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Project points (task, latent) onto their first two principal components.

    A component's largest loading is positive, so that the same points always fall on the same side.

    Returns:
        The coordinates, (task, 2), and the share of variance that each component explains, (2,), NaN if the points
        have no variance.
    """
    centred = points - points.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    singular, directions = singular[:2], directions[:2]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    coordinates = centred @ (directions * np.where(largest < 0, -1.0, 1.0)).T
    missing = 2 - len(singular)
    variance = np.pad(singular**2, (0, missing))
    total = float((centred**2).sum())
    explained = variance / total if total > 0 else np.full(2, np.nan)
    return np.pad(coordinates, ((0, 0), (0, missing))), explained


def posterior_spread(
    path: str | os.PathLike[str],
    transitions_seen: ArrayLike,
    stddev: ArrayLike,
    *,
    error: ArrayLike | None = None,
    error_name: str = "error",
    title: str = "Posterior spread against transitions seen",
) -> Path:
    """Draw the posterior's spread against the context's length: median and interquartile range over tasks.

    Args:
        path: the PNG file to write.
        transitions_seen: transitions in the context, (n,); never decreasing.
        stddev: posterior standard deviation, (task, n) or (task, n, latent); the mean over dimensions is drawn.
        error: error of the posterior mean, (task, n), drawn in a panel beneath; None for no such panel.
        error_name: name of the error, for the axis.
        title: the figure's title.

    Raises:
        ValueError: a shape is wrong, or `transitions_seen` decreases.
    """
    seen = as_increasing("transitions_seen", transitions_seen, "n")
    n = str(len(seen))
    latent = () if np.ndim(stddev) == 2 else ("latent",)
    spread = as_array("stddev", stddev, ("task", n, *latent))
    panels = [(spread.mean(-1) if latent else spread, "posterior standard deviation", PALETTE[0])]
    if error is not None:
        panels.append((as_array("error", error, (str(len(spread)), n)), error_name, PALETTE[1]))
    with png(path, height=4.4 if error is None else 6.4) as figure:
        for index, (values, name, colour) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, index + 1)
            _draw_quartiles(axes, seen, values, colour)
            axes.set_ylabel(name)
            _scale_transitions(axes, seen)
        axes.set_xlabel("transitions seen")
        averaged = f"mean over the {spread.shape[2]} dimensions of z; " if latent and spread.shape[2] > 1 else ""
        over = f"line: median of {len(spread)} tasks, band: interquartile range" if len(spread) > 1 else "one task"
        add_header(figure, title, f"{averaged}{over}")
    return Path(path)


def _value_names(names: str | Sequence[str], n_values: int) -> list[str]:
    if n_values > MOST_TASK_VALUES:
        raise ValueError(f"task_values must have at most {MOST_TASK_VALUES} values per task; found {n_values}: choose")
    if isinstance(names, str):
        return [names] if n_values == 1 else [f"{names} [{index}]" for index in range(n_values)]
    if len(names) != n_values:
        raise ValueError(f"task_value_name must name each of the {n_values} task values; found {list(names)}")
    return list(names)


def _component_name(number: int, explained: FloatArray) -> str:
    share = explained[number - 1]
    return f"component {number} ({'–' if np.isnan(share) else f'{100 * share:.0f} %'})"


def _scatter(figure: Figure, axes: Axes, x: FloatArray, y: FloatArray, colour: FloatArray, name: str) -> None:
    known = colour[np.isfinite(colour)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    norm = Normalize(low, high)
    face = np.asarray(ScalarMappable(norm, TASKS).to_rgba(colour))
    face[np.isnan(colour)] = 0.0  # a task of unknown value is an empty ring
    axes.scatter(x, y, c=face, s=46, edgecolors=MUTED, linewidths=0.6, zorder=3)
    axes.set_title(f"colour: {name}")
    figure.colorbar(ScalarMappable(norm, TASKS), ax=axes, aspect=25, pad=0.02)


def _draw_quartiles(axes: Axes, seen: FloatArray, values: FloatArray, colour: str) -> None:
    low, median, high = quantiles(values, (0.25, 0.5, 0.75))
    axes.fill_between(seen, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        seen, median, color=colour, linewidth=2, marker="o", markersize=4, markevery=marked(median), clip_on=False
    )
    say_if_empty(axes, values)
    shown = np.concatenate([low, high])
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 8 * shown.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif shown.size and shown.min() >= 0:
        axes.set_ylim(bottom=0)


def _scale_transitions(axes: Axes, seen: FloatArray) -> None:
    """Make the axis logarithmic, and linear below the first count, if counts span more than a factor of 50."""
    positive = seen[seen > 0]
    if positive.size and positive[-1] > 50 * positive[0]:
        axes.set_xscale("symlog", linthresh=float(positive[0]), linscale=0.5)
        axes.set_xlim(left=float(min(seen[0], positive[0])))
        axes.xaxis.set_major_formatter("{x:g}")
