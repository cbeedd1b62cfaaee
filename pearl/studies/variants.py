"""Variants of a preset, compared with the plain preset: statistics, table and picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pearl import plots
from pearl.studies.results import PLAIN, FamilyResults, FloatArray, Runs, value_column


def by_variant(results: FamilyResults, study: str) -> dict[str, Runs]:
    """Return the runs of a study of variants: the plain setting first, then by the mean value during training."""
    found = {setting.name: runs for setting, runs in results.of_study(study).items()}
    return dict(
        sorted(found.items(), key=lambda item: (item[0] != PLAIN, -mean_over_training(item[1]).mean(), item[0]))
    )


def final_value(runs: Runs) -> FloatArray:
    """Return each seed's final value, the mean of its last two evaluations, (seed,)."""
    return np.array([run.curve[value_column(run.curve)][-2:].mean() for run in runs.values()])


def mean_over_training(runs: Runs) -> FloatArray:
    """Return each seed's mean value over the run's environment steps, (seed,); early learning raises it."""
    found = []
    for run in runs.values():
        steps, value = run.curve["env_steps"], run.curve[value_column(run.curve)]
        found.append(np.trapezoid(value, steps) / (steps[-1] - steps[0]))
    return np.array(found)


def table(found: Mapping[str, Runs]) -> str:
    """Return the variants in Markdown, with means and ranges over seeds, at the end and during training.

    The last column compares the values during training with the plain setting's runs of the same seeds: the mean
    difference, and the number of seeds in which the variant was better.
    """
    lines = ["| variant | at the end | on the way | gain on the way |", "|---|---|---|---|"]
    for name, runs in found.items():
        end, way = final_value(runs), mean_over_training(runs)
        digits = 3 if np.abs(way).max() < 2 else 0
        seeds = [seed for seed in runs if seed in found[PLAIN]]
        compared = ""
        if name != PLAIN and seeds:
            gain = np.subtract(
                *(mean_over_training({seed: each[seed] for seed in seeds}) for each in (runs, found[PLAIN]))
            )
            compared = f"{gain.mean():+.{digits}f}, {(gain > 0).sum()} of {len(seeds)}"
        cells = [name.replace("-", " "), mean_and_range(end, digits), mean_and_range(way, digits), compared]
        lines.append(f"| {' | '.join(cells)} |".replace("  |", " |").replace("| -", "| −"))
    return "\n".join(lines)


def draw(path: Path, family: str, found: Mapping[str, Runs]) -> Path:
    """Draw a panel for each variant: its seeds and those of the plain setting."""
    value = value_column(next(iter(found[PLAIN].values())).curve)
    return plots.variant_curves(
        path,
        {
            name: [(run.curve["env_steps"], run.curve[value_column(run.curve)]) for run in runs.values()]
            for name, runs in found.items()
        },
        plain=PLAIN,
        title=family,
        value_name="normalised score" if value == "test/score" else "return of the last episode",
    )


def mean_and_range(values: FloatArray, digits: int) -> str:
    """Return the mean of values, and their range if there are several, with a minus sign instead of a hyphen."""
    mean, low, high = (f"{value:.{digits}f}".replace("-", "−") for value in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})" if len(values) > 1 else mean
