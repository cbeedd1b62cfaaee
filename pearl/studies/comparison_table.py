"""Tables and picture of a comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pearl import plots
from pearl.algorithms import ALGORITHMS
from pearl.plots.comparison import Estimate, looks
from pearl.studies.comparison import by_name, compared, is_scored, last_episode, row, thresholds_of
from pearl.studies.results import RUNS, Runs, read_results

PICTURE = "comparison.png"
"""Name of the picture in a family's folder"""


def table(found: Mapping[str, Runs]) -> str:
    """Return the table of the algorithms in Markdown; the first one is the baseline."""
    baseline = next(iter(found))
    rows = {name: row(runs, found[baseline]) for name, runs in found.items()}
    digits = _digits([end for each in rows.values() for end in (each.first.value, each.last.value)], is_scored(found))
    header = [
        "algorithm (seeds)",
        "environment steps",
        "first episode",
        "last episode",
        "worst 5 %",
        f"better than {baseline}",
        "gradient steps at test time",
        "training, minutes",
    ]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, each in rows.items():
        cells = [
            f"{name} ({len(found[name])})",
            f"{each.env_steps:,.0f}".replace(",", " "),
            _with_interval(each.first, digits),
            _with_interval(each.last, digits),
            _or_dash(each.worst, digits),
            "–" if each.improvement is None else _with_interval(each.improvement, 2),
            str(each.gradient_steps),
            f"{each.wall_s / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def section(found: Mapping[str, Runs], picture: str) -> str:
    """Return a family's part of a page in Markdown: the picture and the table."""
    return f"![What they reach]({picture})\n\n{table(found)}"


def overview_table(folder: Path, baseline: str) -> str:
    """Return a table in Markdown: every algorithm's last episode on every family, sorted by mean rank, best first.

    After the interquartile mean and its interval stands the mean of the worst 5 % of runs and tasks.

    Runs with a budget of their own are left out.

    Args:
        folder: the folder that contains the families' folders.
        baseline: families without runs of this algorithm are left out.
    """
    by_family = {
        path.parent.name: by_name(read_results(path.parent), baseline) for path in sorted(folder.glob(f"*/{RUNS}"))
    }
    shown = {
        family: {name: row(runs, found[baseline]) for name, runs in found.items() if name in ALGORITHMS}
        for family, found in by_family.items()
        if baseline in found
    }
    ranks: dict[str, list[int]] = {}
    header, columns = ["algorithm"], []
    for family, rows in shown.items():
        reached = {name: last_episode(by_family[family][name]) for name in rows}
        for rank, name in enumerate(sorted(reached, key=reached.__getitem__, reverse=True)):
            ranks.setdefault(name, []).append(rank)
        scored = is_scored(by_family[family])
        steps = f"{round(min(each.env_steps for each in rows.values()), -3):,.0f}".replace(",", " ")
        header.append(f"{family}, {'score' if scored else 'return'} after {steps} steps")
        digits = _digits(list(reached.values()), scored)
        columns.append(
            {
                name: f"{_with_interval(each.last, digits)}, worst {_or_dash(each.worst, digits)}"
                for name, each in rows.items()
            }
        )
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name in sorted(ranks, key=lambda name: (float(np.mean(ranks[name])), name)):
        lines.append(f"| {' | '.join([name, *(column.get(name, '–') for column in columns)])} |")
    return "\n".join(lines)


def draw(path: Path, family: str, found: Mapping[str, Runs], n_exploration: int) -> Path:
    """Draw all algorithms; the first one is the baseline."""
    scored, thresholds = is_scored(found), thresholds_of(found)
    baseline = next(iter(found))
    counts = sorted({len(runs) for runs in found.values()})
    seeds = (
        f"{counts[0]} seed{'s' if counts[-1] > 1 else ''}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]} seeds"
    )
    return plots.comparison(
        path,
        {name: compared(runs, found[baseline], thresholds) for name, runs in found.items()},
        baseline=baseline,
        looks=looks(list(dict.fromkeys([*ALGORITHMS, *found]))),
        thresholds=thresholds,
        title=f"{family}: {len(found)} algorithm{'s' if len(found) > 1 else ''}, {seeds}",
        value_name="normalised score" if scored else "return",
        exploration_episodes=n_exploration,
        references={"random policy": 0.0, "task known": 1.0} if scored else {"random policy": _random(found)},
    )


def _random(found: Mapping[str, Runs]) -> float:
    return float(
        np.mean([np.mean(run.measured["references"]["random"]) for runs in found.values() for run in runs.values()])
    )


def _digits(values: Sequence[Any], scored: bool) -> int:
    """Return the number of decimals to print: three for scores, fewer for larger returns."""
    largest = max(abs(float(value)) for value in values)
    return 3 if scored or largest < 2 else 1 if largest < 100 else 0


def _with_interval(estimate: Estimate, digits: int) -> str:
    value, low, high = (_number(end, digits) for end in estimate)
    return f"{value} ({low} to {high})"


def _or_dash(value: float | None, digits: int) -> str:
    return "–" if value is None else _number(value, digits)


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
