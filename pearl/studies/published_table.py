"""Runs with the default settings, compared with the published runs of the families' presets."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pearl.config.run import PEARLConfig
from pearl.studies.results import PLAIN, FloatArray, Runs, Setting, last_episode_column, read_results
from pearl.studies.variants import mean_and_range

PUBLISHED = Setting("reproduction", PLAIN, PEARLConfig.algorithm)
"""The runs of a family's preset that its published agent comes from"""

FIRST_EPISODE = "test/return_ep1"
"""Column of the curves with the first episode's mean return"""

NEAR = 0.95
"""Share of the way at which runs count as having come to the preset's end"""


def published_table(folders: Iterable[Path], setting: Setting) -> str:
    """Return a table in Markdown: a row for each family with runs of ``setting`` and of its preset.

    Returns are those of the last episode on held-out tasks: mean over seeds, range in brackets. If one kind of run is
    shorter than the other, both are read where the shorter ends. The share is 1 where the defaults are level with the
    preset, and 0 where they are level with a random policy. "On the way" is the same share of the mean over training.
    "First episode" is the share of the way from the random policy to the last episode that the defaults' first one has.
    "Steps to 95 %" are the environment steps after which the mean over seeds has come so far on the way from the random
    policy to the preset's end, linearly between evaluations; "–" if it never does.
    The worst 5 % of tasks (CVaR) of both are means over seeds, "–" where runs did not log them.

    Args:
        folders: the families' folders of results.
        setting: the runs with the default settings.
    """
    lines = [
        "| family | steps | random policy | preset | defaults, seeds | share | on the way "
        "| first episode | steps to 95 %: preset, defaults | worst 5 %: preset, defaults |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        runs = read_results(folder).runs
        if setting in runs and PUBLISHED in runs:
            lines.append(_row(folder.name, runs[setting], runs[PUBLISHED]))
    return "\n".join(lines)


def _row(family: str, untuned: Runs, published: Runs) -> str:
    steps = min(float(run.curve["env_steps"][-1]) for run in (*untuned.values(), *published.values()))
    (end, way), (end_before, way_before) = (_values(runs, steps) for runs in (untuned, published))
    random = float(np.mean([_random(run.measured) for run in untuned.values()]))
    share, on_the_way = (
        (now.mean() - random) / (before.mean() - random) for now, before in ((end, end_before), (way, way_before))
    )
    first = (_values(untuned, steps, FIRST_EPISODE)[0].mean() - random) / (end.mean() - random)
    digits = 0 if np.abs(end).max() >= 100 else 1
    cells = [
        family,
        f"{steps:,.0f}".replace(",", " "),
        mean_and_range(np.array([random]), digits),
        mean_and_range(end_before, digits),
        f"{mean_and_range(end, digits)}, {len(end)}",
        *(f"{value:.2f}".replace("-", "−") for value in (share, on_the_way, first)),
        ", ".join(_steps_to(NEAR, random, end_before.mean(), runs) for runs in (published, untuned)),
        ", ".join(_worst(runs, steps, digits) for runs in (published, untuned)),
    ]
    return f"| {' | '.join(cells)} |"


def _values(runs: Runs, steps: float, column: str | None = None) -> tuple[FloatArray, FloatArray]:
    """Return each seed's value after ``steps`` steps and its mean until then, (seed,) each.

    Args:
        runs: by seed.
        steps: environment steps.
        column: of the curves; the last episode's return if None.
    """
    ends, ways = [], []
    for run in runs.values():
        at, value = run.curve["env_steps"], run.curve[column or last_episode_column(run.curve)]
        end = float(np.interp(steps, at, value))
        until = at < steps
        ends.append(end)
        ways.append(np.trapezoid([*value[until], end], [*at[until], steps]) / (steps - at[0]))
    return np.array(ends), np.array(ways)


def _steps_to(share: float, low: float, high: float, runs: Runs) -> str:
    """Return the steps after which the mean over seeds has come a ``share`` of the way from ``low`` to ``high``."""
    at = np.unique(np.concatenate([run.curve["env_steps"] for run in runs.values()]))
    curves = [(run.curve["env_steps"], run.curve[last_episode_column(run.curve)]) for run in runs.values()]
    ways = (np.mean([np.interp(at, *curve) for curve in curves], axis=0) - low) / (high - low)
    there = np.flatnonzero(ways >= share)
    if len(there) == 0:
        return "–"
    first = int(there[0])
    steps = at[0] if first == 0 else np.interp(share, ways[first - 1 : first + 1], at[first - 1 : first + 1])
    return f"{round(float(steps), -3):,.0f}".replace(",", " ")


def _worst(runs: Runs, steps: float, digits: int) -> str:
    """Return the mean over seeds of the worst 5 % of tasks after ``steps`` steps; "–" if a run has not logged it."""
    curves = [(run.curve["env_steps"], run.curve["test/cvar"]) for run in runs.values() if "test/cvar" in run.curve]
    worst = np.array([np.interp(steps, at, values) for at, values in curves])
    if len(worst) < len(runs) or np.isnan(worst).any():
        return "–"
    return mean_and_range(worst.mean(keepdims=True), digits)


def _random(measured: Mapping[str, dict[str, list[float]]]) -> float:
    return float(np.mean(measured["references"]["random"]))
