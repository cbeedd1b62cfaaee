"""Curves of returns and scores over environment steps, and over the episodes of a trial."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from pearl.evaluation.statistics import mean_interval, mean_over_tasks
from pearl.plots.arrays import FloatArray, as_array, as_increasing, check_references
from pearl.plots.style import (
    INK,
    MUTED,
    PALETTE,
    SHADE,
    add_header,
    draw_references,
    label_right,
    lone,
    marked,
    png,
    say_if_empty,
)

NO_REFERENCES: Mapping[str, float] = MappingProxyType({})


def learning_curve(
    path: str | os.PathLike[str],
    env_steps: ArrayLike,
    score: ArrayLike,
    score_low: ArrayLike,
    score_high: ArrayLike,
    *,
    label: str,
    reference_lines: Mapping[str, float] = NO_REFERENCES,
    value_name: str = "normalised score",
    wall_s: ArrayLike | None = None,
) -> Path:
    """Draw one run's score on test tasks over environment steps, with its 95 % interval as a band.

    Args:
        path: the PNG file to write.
        env_steps: environment steps at each evaluation, (evaluation,); never decreasing.
        score: (evaluation,); NaN leaves a gap.
        score_low: the interval's lower end, (evaluation,).
        score_high: the interval's upper end, (evaluation,).
        label: name of the run.
        reference_lines: values by name, drawn as dashed lines.
        value_name: name of the score, for the axis.
        wall_s: seconds since training began at each evaluation, (evaluation,); a second axis on top shows them.

    Raises:
        ValueError: a shape is wrong, steps or seconds decrease, or a reference is not finite.
    """
    steps = as_increasing("env_steps", env_steps, "evaluation")
    n = str(len(steps))
    mean, low, high = (
        as_array(name, values, (n,))
        for name, values in (("score", score), ("score_low", score_low), ("score_high", score_high))
    )
    if (low > high).any():
        raise ValueError("score_low must not exceed score_high; are the two swapped?")
    wall = None if wall_s is None else as_increasing("wall_s", wall_s, n)
    check_references(reference_lines)
    missing = int(np.isnan(mean).sum())
    with png(path, height=4.6) as figure:
        axes = figure.add_subplot()
        references = draw_references(axes, reference_lines)
        if len(steps) == 1:
            _draw_bars(axes, steps, low, high)
        axes.fill_between(steps, low, high, color=PALETTE[0], alpha=0.18, linewidth=0)
        axes.plot(
            steps, mean, color=PALETTE[0], linewidth=2, marker="o", markersize=4, markevery=marked(mean), clip_on=False
        )
        say_if_empty(axes, mean)
        _finish_step_axis(axes, steps, value_name)
        if wall is not None:
            _add_wall_axis(axes, steps, wall)
        label_right(axes, [*_last_finite(mean, label, PALETTE[0]), *references])
        gaps = f"; {missing} of {n} evaluations without a score" if missing else ""
        add_header(
            figure,
            f"{label}: learning curve",
            f"{value_name} on test tasks; band: 95 % interval{gaps}",
        )
    return Path(path)


def learning_curves(
    path: str | os.PathLike[str],
    runs: Sequence[tuple[str, ArrayLike, ArrayLike]],
    *,
    title: str = "Learning curves",
    reference_lines: Mapping[str, float] = NO_REFERENCES,
    value_name: str = "normalised score",
) -> Path:
    """Draw several runs: a thin line per seed, and a thick line for the mean of the runs that share a label.

    The mean covers the environment steps that all these runs reached, after linear interpolation onto their common
    grid. A run without any finite score is not drawn and not in the mean; the subtitle counts such runs.

    Args:
        path: the PNG file to write.
        runs: (label, environment steps (evaluation,), score (evaluation,)); give the seeds of one algorithm one label.
        title: the figure's title.
        reference_lines: values by name, drawn as dashed lines.
        value_name: name of the score, for the axis.

    Raises:
        ValueError: there is no run, a shape is wrong, steps decrease, a reference is not finite, or the seeds of one
            label share no range of environment steps.
    """
    if not runs:
        raise ValueError("runs is empty: give at least one (label, env_steps, score)")
    check_references(reference_lines)
    algorithms: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    unscored = 0
    for index, (label, env_steps, score) in enumerate(runs):
        steps = as_increasing(f"runs[{index}] env_steps", env_steps, "evaluation")
        scores = as_array(f"runs[{index}] score", score, (str(len(steps)),))
        unscored += not np.isfinite(scores).any()
        algorithms.setdefault(label, []).append((steps, scores))
    with png(path, height=4.6) as figure:
        axes = figure.add_subplot()
        labels = draw_references(axes, reference_lines)
        for index, (label, seeds) in enumerate(algorithms.items()):
            colour = PALETTE[index % len(PALETTE)]
            for steps, scores in seeds:
                axes.plot(
                    steps,
                    scores,
                    color=colour,
                    linewidth=0.9,
                    alpha=0.5,
                    marker="o",
                    markersize=3,
                    markevery=lone(scores),
                )
            grid, mean = mean_of_seeds(label, seeds)
            axes.plot(grid, mean, color=colour, linewidth=2.4, marker="o", markevery=lone(mean))
            counted = f"{label} ({len(seeds)})" if len(algorithms) > 1 else label
            labels = [*_last_finite(mean, counted, colour), *labels]
        all_scores = np.concatenate([scores for seeds in algorithms.values() for _, scores in seeds])
        say_if_empty(axes, all_scores)
        _finish_step_axis(
            axes, np.concatenate([steps for seeds in algorithms.values() for steps, _ in seeds]), value_name
        )
        label_right(axes, labels)
        drawn = f"thin: one run each, thick: their mean; {len(runs)} runs" if len(runs) > 1 else "one run"
        if len(algorithms) > 1:
            drawn = "thin: one run each, thick: their mean; in brackets: number of runs"
        gaps = f"; {unscored} without any score" if unscored else ""
        add_header(figure, title, f"{value_name} on test tasks; {drawn}{gaps}")
    return Path(path)


def return_by_episode(
    path: str | os.PathLike[str],
    returns: ArrayLike,
    *,
    exploration_episodes: int,
    references: Mapping[str, float] = NO_REFERENCES,
    title: str = "Return by episode on test tasks",
    by_gradient: bool = False,
) -> Path:
    """Draw the return of each episode of a trial: every task faintly, and the mean with its bootstrap 95 % interval.

    Args:
        path: the PNG file to write.
        returns: undiscounted return, (task, episode); NaN for an episode that was not played.
        exploration_episodes: number of exploration episodes at the start; `returns[:, exploration_episodes:]` are
            played after adaptation. From 0 to the number of episodes.
        references: returns by name, such as those of a random policy and an oracle; drawn as dashed lines.
        title: the figure's title.
        by_gradient: whether the agent adapts by gradient steps.

    Raises:
        ValueError: a shape is wrong, a reference is not finite, or `exploration_episodes` is out of range.
    """
    values = as_array("returns", returns, ("task", "episode"))
    n_tasks, n_episodes = values.shape
    if not 0 <= exploration_episodes <= n_episodes:
        raise ValueError(f"exploration_episodes must lie in 0..{n_episodes}; found {exploration_episodes}")
    check_references(references)
    episodes = np.arange(1, n_episodes + 1)
    mean = mean_over_tasks(values)
    with png(path, height=4.6) as figure:
        axes = figure.add_subplot()
        labels = draw_references(axes, references)
        axes.plot(episodes, values.T, color=MUTED, linewidth=0.8, alpha=0.3, marker="o", markersize=2.5)
        if n_tasks > 1:
            low, high = mean_interval(values)
            _draw_bars(axes, episodes, low, high)
        axes.plot(episodes, mean, color=PALETTE[0], linewidth=2.2, marker="o", markersize=6, zorder=4)
        say_if_empty(axes, values)
        _shade_exploration(axes, exploration_episodes, n_episodes)
        finish_episode_axis(axes, n_episodes, "episode of the trial", first=1)
        axes.set_ylabel("return of the episode")
        name = "mean" if n_tasks > 1 else "the task"
        label_right(axes, [*_last_finite(mean, name, PALETTE[0]), *labels])
        how = "adapting by gradient steps" if by_gradient else "no gradient step"
        interval = "mean with its bootstrap 95 % interval; faint: one line per task; " if n_tasks > 1 else ""
        add_header(figure, title, f"{interval}{n_tasks} test task{'s' if n_tasks > 1 else ''}, {how}")
    return Path(path)


def finish_episode_axis(axes: Axes, n_episodes: int, name: str, *, first: int) -> None:
    """Make an x-axis that counts episodes from `first` to `n_episodes`, with whole numbers only."""
    axes.set_xlim(first - 0.5, n_episodes + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(name)


def _draw_bars(axes: Axes, x: np.ndarray, low: FloatArray, high: FloatArray) -> None:
    axes.errorbar(x, (low + high) / 2, (high - low) / 2, fmt="none", color=PALETTE[0], capsize=5, zorder=3)


def _shade_exploration(axes: Axes, n_exploration: int, n_episodes: int) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.1 * (high - low))
    spans = [(0.5, n_exploration + 0.5, "exploration"), (n_exploration + 0.5, n_episodes + 0.5, "after adaptation")]
    axes.axvspan(0.5, n_exploration + 0.5, color=SHADE, linewidth=0, zorder=0)
    for start, end, name in spans:
        if end > start:
            axes.text(
                (start + end) / 2,
                0.985,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=9,
                color=MUTED,
            )


def _last_finite(values: FloatArray, label: str, colour: str) -> list[tuple[float, str, str]]:
    finite = values[np.isfinite(values)]
    return [(float(finite[-1]), label, colour)] if finite.size else []


def _finish_step_axis(axes: Axes, steps: FloatArray, value_name: str) -> None:
    axes.set_xlim(min(0.0, float(steps.min())), max(float(steps.max()) * 1.02, 1.0))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("environment steps")
    axes.set_ylabel(value_name)


def _add_wall_axis(axes: Axes, steps: FloatArray, wall: FloatArray) -> None:
    unit, seconds = next(
        ((unit, seconds) for unit, seconds in (("h", 3600), ("min", 60)) if wall[-1] >= 2 * seconds), ("s", 1)
    )
    ticks = np.array([wall[-1] / seconds])
    if wall[-1] > wall[0]:
        ticks = np.array(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(wall[0] / seconds, wall[-1] / seconds))
        ticks = ticks[(ticks >= wall[0] / seconds) & (ticks <= wall[-1] / seconds)]
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks(np.interp(ticks * seconds, wall, steps), [f"{tick:g}" for tick in ticks], color=MUTED)
    top.grid(visible=False)
    top.set_xlabel(f"wall-clock time ({unit})", fontsize=9, color=MUTED)
    top.spines["top"].set_visible(True)
    top.tick_params(color=INK)


def mean_of_seeds(label: str, seeds: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Return the common grid of the seeds' environment steps and their mean score on it, both (grid,)."""
    known = [
        (steps[np.isfinite(scores)], scores[np.isfinite(scores)])
        for steps, scores in seeds
        if np.isfinite(scores).any()
    ]
    if not known:
        return np.empty(0), np.empty(0)
    start, end = max(steps[0] for steps, _ in known), min(steps[-1] for steps, _ in known)
    if start > end:
        raise ValueError(
            f"the runs labelled {label!r} share no range of environment steps: one starts at {start:g}, another ends "
            f"at {end:g}. Give them labels of their own"
        )
    steps_of_all = np.unique(np.concatenate([steps for steps, _ in known]))
    grid = steps_of_all[(steps_of_all >= start) & (steps_of_all <= end)]
    return grid, np.mean([np.interp(grid, steps, scores) for steps, scores in known], axis=0)
