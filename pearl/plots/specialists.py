"""Learning curves of agents trained from scratch on one task each, compared with an adapted agent."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike

from pearl.evaluation.statistics import mean_interval, mean_over_tasks
from pearl.plots.arrays import FloatArray, as_array, as_increasing, check_references
from pearl.plots.curves import NO_REFERENCES
from pearl.plots.style import MUTED, PALETTE, add_header, draw_references, label_right, lone, png, say_if_empty


def specialist_curves(
    path: str | os.PathLike[str],
    steps: ArrayLike,
    returns: ArrayLike,
    *,
    adapted: float,
    adapted_steps: float,
    title: str,
    name: str = "specialist",
    steps_to_adapted: float | None = None,
    references: Mapping[str, float] = NO_REFERENCES,
) -> Path:
    """Draw agents trained from scratch on one test task each: every task faintly, their mean, and the adapted agent.

    Args:
        path: the PNG file to write.
        steps: environment steps in each test task at each evaluation, (evaluation,); never decreasing.
        returns: (task, evaluation); NaN leaves a gap.
        adapted: the adapted agent's mean return on the same tasks, a dashed line from the end of adaptation.
        adapted_steps: environment steps that the agent adapted for in each test task.
        title: the figure's title.
        name: name of the agents trained from scratch.
        steps_to_adapted: steps at which the specialists' mean reaches the adapted agent, marked; None if never.
        references: returns by name, drawn as dashed lines.

    Raises:
        ValueError: a shape is wrong, steps decrease, or a value that is drawn as a line is not finite.
    """
    grid = as_increasing("steps", steps, "evaluation")
    values = as_array("returns", returns, ("task", str(len(grid))))
    check_references({**references, "adapted": adapted, "adapted_steps": adapted_steps})
    mean = mean_over_tasks(values)
    with png(path, height=4.6) as figure:
        axes = figure.add_subplot()
        labels = draw_references(axes, references)
        axes.plot(grid, values.T, color=MUTED, linewidth=0.8, alpha=0.3)
        if len(values) > 1:
            low, high = mean_interval(values)
            axes.fill_between(grid, low, high, color=PALETTE[0], alpha=0.18, linewidth=0)
        axes.plot(grid, mean, color=PALETTE[0], linewidth=2.2, marker="o", markersize=4, markevery=lone(mean), zorder=4)
        say_if_empty(axes, values)
        _finish_axes(axes, grid, adapted_steps)
        _draw_adapted(axes, adapted, adapted_steps, steps_to_adapted)
        known = mean[np.isfinite(mean)]
        own = [(float(known[-1]), f"{name} (mean)", PALETTE[0])] if known.size else []
        label_right(axes, [*own, (adapted, "adapted agent", PALETTE[1]), *labels])
        add_header(figure, title, _subtitle(len(values), steps_to_adapted, grid))
    return Path(path)


def _draw_adapted(axes: Axes, adapted: float, adapted_steps: float, reached: float | None) -> None:
    """Draw the adapted agent: a dot at the end of adaptation, a line from there, and the crossing with the mean."""
    right = axes.get_xlim()[1]
    axes.plot([adapted_steps, right], [adapted, adapted], color=PALETTE[1], linewidth=1.8, dashes=(5, 2), zorder=5)
    axes.plot(adapted_steps, adapted, color=PALETTE[1], marker="o", markersize=8, zorder=6)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.06 * (high - low))
    _say_steps(axes, adapted_steps, adapted, (0, 8), PALETTE[1])
    if reached is not None:
        axes.plot([reached, reached], [low, adapted], color=PALETTE[0], linewidth=1.2, dashes=(1, 1.8), zorder=3)
        axes.plot(reached, adapted, "o", markersize=8, markerfacecolor="white", markeredgecolor=PALETTE[0], zorder=6)
        _say_steps(axes, reached, low, (6, 8), PALETTE[0])


def _say_steps(axes: Axes, steps: float, value: float, offset: tuple[float, float], colour: str) -> None:
    to_the_left = steps > 0.8 * axes.get_xlim()[1]
    axes.annotate(
        f"{steps:,.0f} steps",
        xy=(steps, value),
        xytext=(-offset[0] if to_the_left else offset[0], offset[1]),
        textcoords="offset points",
        fontsize=9,
        color=colour,
        ha="right" if to_the_left else "left",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        zorder=7,
    )


def _finish_axes(axes: Axes, grid: FloatArray, adapted_steps: float) -> None:
    axes.set_xlim(0.0, max(float(grid.max()), adapted_steps, 1.0) * 1.01)
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("environment steps in each test task")
    axes.set_ylabel("return of an episode")


def _subtitle(n_tasks: int, reached: float | None, grid: FloatArray) -> str:
    tasks = (
        f"{n_tasks} test tasks; faint: one line each, band: the mean's 95 % interval" if n_tasks > 1 else "a test task"
    )
    met = f"; adapted agent not reached in {grid[-1]:,.0f} steps" if reached is None else ""
    return f"{tasks}{met}"
