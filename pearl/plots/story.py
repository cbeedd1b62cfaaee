"""One adaptation in one figure: the agent's paths, its returns and its posterior."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from numpy.typing import ArrayLike

from pearl.plots.arrays import FloatArray, as_array, check_references
from pearl.plots.curves import NO_REFERENCES, finish_episode_axis
from pearl.plots.plane import (
    add_episode_key,
    as_paths,
    draw_paths,
    half_circle_through,
    height_over_width,
    plane_limits,
    position_label,
)
from pearl.plots.style import (
    MUTED,
    PALETTE,
    WIDTH,
    add_header,
    draw_references,
    episode_colours,
    label_right,
    png,
    say_if_empty,
)

SUBTITLE = "no gradient step: the agent plays, updates its belief, and plays again"
WITHOUT_BELIEF = "no gradient step: the agent plays, remembers, and plays again"
BY_GRADIENT = "the agent plays, takes gradient steps on what it played, and plays again"


def adaptation_story(
    path: str | os.PathLike[str],
    returns: ArrayLike,
    means: ArrayLike | None = None,
    stddev: ArrayLike | None = None,
    *,
    title: str,
    subtitle: str = SUBTITLE,
    positions: Sequence[ArrayLike] | None = None,
    goal: ArrayLike | None = None,
    goal_radius: float | None = None,
    half_circle: bool = False,
    references: Mapping[str, float] = NO_REFERENCES,
    unit: str = "",
) -> Path:
    """Draw one adaptation: its paths (for tasks in the plane), each episode's return, and the posterior after each.

    Args:
        path: the PNG file to write.
        returns: undiscounted return, (episode,).
        means: posterior mean, (episode + 1, latent); row 0 is the prior, row k the posterior after k episodes. None
            (like ``stddev``) if the agent has no posterior.
        stddev: posterior standard deviation, of the same shape.
        title: the task and the agent.
        subtitle: the way of adaptation.
        positions: for each episode the positions visited, (step + 1, 2); None for tasks that are not in the plane.
        goal: (2,), needed with `positions`.
        goal_radius: the distance within which the goal counts as reached; None for no disc.
        half_circle: draw the upper half circle around the origin on which goals lie, through this goal.
        references: returns by name, drawn as dashed lines.
        unit: the positions' unit; empty for none.

    Raises:
        ValueError: a shape is wrong, a reference is not finite, or `positions` come without `goal`, or `means` without
            `stddev`, or the reverse.
    """
    earned = as_array("returns", returns, ("episode",))
    posterior = _checked_posterior(means, stddev, len(earned))
    check_references(references)
    if (positions is None) != (goal is None):
        raise ValueError("positions and goal belong together: give both for a task in the plane, or neither")
    if positions is None or goal is None:
        with png(path, height=3.4 if posterior is None else 5.6) as figure:
            _draw_gains(figure, earned, posterior, references)
            add_header(figure, title, subtitle)
        return Path(path)
    checked_goal = as_array("goal", goal, ("2",))
    paths = as_paths("positions", positions)
    circle = half_circle_through(checked_goal[None]) if half_circle else None
    limits = plane_limits(paths, checked_goal[None], goal_radius, circle)
    shape = height_over_width(limits)
    # A wide plane gets more of the width. The figure is no higher than the plane or the two panels need.
    left, right = (1.35, 1.0) if shape < 0.8 else (1.15, 1.0)
    with png(path, height=float(np.clip(WIDTH * left / (left + right) * shape + 1.9, 5.2, 6.4))) as figure:
        layout = figure.add_gridspec(1, 2, width_ratios=[left, right])
        plane, gains = figure.add_subfigure(layout[0]), figure.add_subfigure(layout[1])
        axes = plane.subplots()
        draw_paths(axes, paths, checked_goal, len(paths), goal_radius, circle)
        axes.set(xlim=limits[0], ylim=limits[1], xlabel=position_label("x", unit), ylabel=position_label("y", unit))
        axes.set_title("Paths")
        add_episode_key(plane, [axes], len(paths), columns=4)
        _draw_gains(gains, earned, posterior, references)
        add_header(figure, title, subtitle)
    return Path(path)


def _checked_posterior(
    means: ArrayLike | None, stddev: ArrayLike | None, episodes: int
) -> tuple[FloatArray, FloatArray] | None:
    if (means is None) != (stddev is None):
        raise ValueError("means and stddev belong together: give both, or neither for an agent without a posterior")
    if means is None or stddev is None:
        return None
    mean = as_array("means", means, (str(episodes + 1), "latent"))
    return mean, as_array("stddev", stddev, (str(episodes + 1), str(mean.shape[1])))


def _draw_gains(
    figure: FigureBase,
    returns: FloatArray,
    posterior: tuple[FloatArray, FloatArray] | None,
    references: Mapping[str, float],
) -> None:
    panels = figure.subplots(1 if posterior is None else 2, 1, squeeze=False)[:, 0]
    _draw_returns(panels[0], returns, references)
    if posterior is not None:
        _draw_posterior(panels[1], *posterior)


def _draw_returns(axes: Axes, returns: FloatArray, references: Mapping[str, float]) -> None:
    episodes = np.arange(1, len(returns) + 1)
    labels = draw_references(axes, references)
    axes.plot(episodes, returns, color=MUTED, linewidth=1.2, zorder=2)
    axes.scatter(episodes, returns, c=episode_colours(len(returns)), s=48, zorder=3)
    say_if_empty(axes, returns)
    axes.margins(y=0.15)
    axes.set_title("Return of each episode")
    axes.set_ylabel("return")
    finish_episode_axis(axes, len(returns), "episode", first=1)
    label_right(axes, labels)


def _draw_posterior(axes: Axes, means: FloatArray, stddev: FloatArray) -> None:
    seen = np.arange(len(means))
    n_latent = means.shape[1]
    labels = []
    for dim in range(n_latent):
        colour = PALETTE[dim % len(PALETTE)]
        axes.fill_between(
            seen, means[:, dim] - stddev[:, dim], means[:, dim] + stddev[:, dim], color=colour, alpha=0.12
        )
        axes.plot(seen, means[:, dim], color=colour, linewidth=1.6, marker="o", markersize=3.5)
        if np.isfinite(means[-1, dim]):
            labels.append((float(means[-1, dim]), f"z{dim + 1}", colour))
    say_if_empty(axes, means)
    axes.set_title("Posterior of z: mean ± std. deviation")
    axes.set_ylabel("z")
    finish_episode_axis(axes, len(means) - 1, "episodes seen (0: the prior)", first=0)
    axes.set_xlim(-0.15, len(means) - 0.85)
    if n_latent <= len(PALETTE):
        label_right(axes, labels)
