"""Comparison of several algorithms: at test time, over meta-training, per task, and against a baseline."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from pearl.plots.arrays import FloatArray, as_array, as_increasing, check_references
from pearl.plots.curves import mean_of_seeds
from pearl.plots.style import DASHES, INK, MUTED, PALETTE, SHADE, add_header, png

COLOURS = (*PALETTE, "#8A5A2B", "#8F9A1F", "#B3005E", "#005F60")
LEGEND_COLUMNS = 4
"""Number of names as long as "rl2-1000000-steps" that fit into the picture's width"""
LOGARITHMIC_FROM = 5
"""Ratio of the longest to the shortest training above which the axis of environment steps is logarithmic"""

NO_REFERENCES: Mapping[str, float] = MappingProxyType({})


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: ArrayLike
    low: ArrayLike
    high: ArrayLike


class Compared(NamedTuple):
    """Data of one algorithm in a comparison."""

    episodes: Estimate
    """Value of each episode at test time; its arrays are (episode,)"""
    curves: Sequence[tuple[ArrayLike, ArrayLike]]
    """One pair per run: environment steps and the last episode's value at each evaluation, (evaluation,) each"""
    profile: Estimate
    """Share of runs and tasks whose last episode is above each threshold; its arrays are (threshold,)"""
    improvement: Estimate | None
    """Probability of being better than the baseline on a task; None for the baseline, and if it is unknown"""


Dashes = Literal["solid"] | tuple[int, tuple[float, ...]]


class Look(NamedTuple):
    """Colour and dashes of an algorithm's lines, the same in all pictures."""

    colour: str
    dashes: Dashes


def looks(algorithms: Sequence[str]) -> dict[str, Look]:
    """Return a look for each algorithm. Lines are dashed when colours run out.

    Args:
        algorithms: all algorithms. Append new ones, so that the others keep their looks.
    """
    dashes: tuple[Dashes, ...] = ("solid", *DASHES)
    return {
        name: Look(COLOURS[index % len(COLOURS)], dashes[index // len(COLOURS) % len(dashes)])
        for index, name in enumerate(algorithms)
    }


def comparison(
    path: str | os.PathLike[str],
    algorithms: Mapping[str, Compared],
    *,
    baseline: str,
    looks: Mapping[str, Look],
    thresholds: ArrayLike,
    title: str,
    value_name: str,
    exploration_episodes: int,
    references: Mapping[str, float] = NO_REFERENCES,
) -> Path:
    """Draw four panels: value by episode, learning curves, performance profiles, probability of improvement.

    Args:
        path: the PNG file to write.
        algorithms: the data of each algorithm by its name.
        baseline: name of the algorithm that the others are compared with.
        looks: the look of each algorithm.
        thresholds: thresholds of the profiles, (threshold,); never decreasing.
        title: the figure's title.
        value_name: name of the values, for the axes.
        exploration_episodes: number of exploration episodes at the start of a trial at test time.
        references: values by name, drawn as dashed lines over episodes and environment steps.

    Raises:
        ValueError: the baseline or a look is missing, a shape is wrong, steps or thresholds decrease, a reference is
            not finite, or an algorithm's runs share no range of environment steps.
    """
    missing = [name for name in (baseline, *algorithms) if name not in algorithms or name not in looks]
    if missing:
        raise ValueError(
            f"algorithms and looks must hold every algorithm and the baseline; {', '.join(missing)} is missing"
        )
    check_references(references)
    levels = as_increasing("thresholds", thresholds, "threshold")
    with png(path, height=8.2) as figure:
        (by_episode, over_steps), (profiles, improvements) = figure.subplots(2, 2)
        for name, algorithm in algorithms.items():
            _draw_episodes(by_episode, name, algorithm.episodes, looks[name])
            _draw_profile(profiles, name, levels, algorithm.profile, looks[name])
        _draw_curves(over_steps, algorithms, looks)
        over_steps.set_ylabel(f"{value_name}, mean")
        _draw_improvements(improvements, algorithms, baseline, looks)
        _finish_episodes(by_episode, exploration_episodes, value_name)
        for axes in (by_episode, over_steps):
            for dashes, reference in zip(DASHES, references.values(), strict=False):
                axes.axhline(reference, color=MUTED, linewidth=1, linestyle=dashes, zorder=1.5)
        profiles.set_title("Performance profiles, last episode")
        profiles.set_xlabel(f"{value_name} τ")
        profiles.set_ylabel("tasks above τ")
        profiles.set_ylim(-0.03, 1.03)
        profiles.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if levels[-1] > levels[0]:
            profiles.set_xlim(levels[0], levels[-1])
        lines = [
            Line2D([], [], color=looks[name].colour, linestyle=looks[name].dashes, linewidth=2.4, label=name)
            for name in algorithms
        ]
        lines += [
            Line2D([], [], color=MUTED, linestyle=dashes, linewidth=1, label=name)
            for dashes, name in zip(DASHES, references, strict=False)
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), LEGEND_COLUMNS), labelcolor=INK)
        add_header(
            figure,
            title,
            f"{value_name} on test tasks; bands and bars: 95 % intervals over runs and tasks; "
            "learning curves, thin: one run each, thick: their mean",
        )
    return Path(path)


def _draw_episodes(axes: Axes, name: str, episodes: Estimate, look: Look) -> None:
    value, low, high = _checked(f"{name} episodes", episodes, "episode")
    number = np.arange(1, len(value) + 1)
    axes.fill_between(number, low, high, color=look.colour, alpha=0.14, linewidth=0)
    axes.plot(number, value, color=look.colour, linestyle=look.dashes, linewidth=2, marker="o", markersize=3.5)


def _finish_episodes(axes: Axes, n_exploration: int, value_name: str) -> None:
    axes.set_title("Episode by episode at test time")
    axes.set_xlabel("episode of the trial")
    axes.set_ylabel(f"{value_name}, interquartile mean")
    right = axes.dataLim.x1 + 0.5
    axes.set_xlim(0.5, right)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
    if n_exploration > 0:
        end = min(n_exploration + 0.5, right)
        axes.axvspan(0.5, end, color=SHADE, linewidth=0, zorder=0)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.09 * (high - low))
        axes.text(
            (0.5 + end) / 2,
            0.985,
            "explores",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8.5,
            color=MUTED,
        )


def _draw_curves(axes: Axes, algorithms: Mapping[str, Compared], looks: Mapping[str, Look]) -> None:
    checked = {
        name: [
            (
                steps := as_increasing(f"{name} env_steps", env_steps, "evaluation"),
                as_array(name, value, (f"{len(steps)}",)),
            )
            for env_steps, value in algorithm.curves
        ]
        for name, algorithm in algorithms.items()
    }
    budgets = [max(steps[-1] for steps, _ in runs) for runs in checked.values()]
    if max(budgets) > LOGARITHMIC_FROM * min(budgets) > 0:
        axes.set_xscale("log")
        checked = {
            name: [(steps[steps > 0], value[steps > 0]) for steps, value in runs] for name, runs in checked.items()
        }
    for name, runs in checked.items():
        look = looks[name]
        if len(runs) > 1:
            for steps, value in runs:
                axes.plot(steps, value, color=look.colour, linewidth=0.7, alpha=0.4)
        axes.plot(*mean_of_seeds(name, runs), color=look.colour, linestyle=look.dashes, linewidth=2.2, zorder=3)
    axes.set_ylim(*_limits(np.concatenate([value for runs in checked.values() for _, value in runs])))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_title("Last episode over meta-training")
    axes.set_xlabel("environment steps")


def _draw_profile(axes: Axes, name: str, levels: FloatArray, profile: Estimate, look: Look) -> None:
    value, low, high = _checked(f"{name} profile", profile, str(len(levels)))
    axes.fill_between(levels, low, high, color=look.colour, alpha=0.1, linewidth=0, step="post")
    axes.step(levels, value, color=look.colour, linestyle=look.dashes, linewidth=2, where="post")


def _draw_improvements(
    axes: Axes, algorithms: Mapping[str, Compared], baseline: str, looks: Mapping[str, Look]
) -> None:
    axes.set_title(f"Probability of being better than {baseline}")
    axes.set_xlabel("share of tasks, last episode")
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="y")
    axes.axvline(0.5, color=MUTED, linewidth=1, zorder=1.5)
    known = {name: algorithm.improvement for name, algorithm in algorithms.items() if algorithm.improvement is not None}
    if not known:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center", color=MUTED)
        return
    for place, (name, improvement) in enumerate(known.items()):
        value, low, high = (float(as_array(f"{name} improvement", end, ())) for end in improvement)
        axes.plot([low, high], [place, place], color=looks[name].colour, linewidth=7, alpha=0.3)
        axes.plot(value, place, color=looks[name].colour, marker="o", markersize=7, clip_on=False)
    axes.set_yticks(range(len(known)), list(known))
    axes.set_ylim(len(known) - 0.5, -0.5)
    for label, name in zip(axes.get_yticklabels(), known, strict=True):
        label.set_color(looks[name].colour)
    axes.tick_params(axis="y", length=0, labelsize=9.5)


def _checked(name: str, estimate: Estimate, dim: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    value = as_array(name, estimate.value, (dim,))
    low, high = (as_array(name, end, (str(len(value)),)) for end in (estimate.low, estimate.high))
    return value, low, high


def _limits(values: FloatArray) -> tuple[float, float]:
    """Return limits that show the end of learning; the lowest few values are cut off."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(np.quantile(known, 0.03)), float(known.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
