"""Robust statistics of an algorithm from a few runs: means, shares and intervals (Agarwal et al. 2021, section 4).

Values have the shape (run, task, …). In Agarwal et al. all runs share their tasks; the tasks are strata, and the runs
of each stratum are resampled. Here each run has its own seed and test tasks, so each task belongs to one run, and both
vary. ``interval`` therefore resamples in two stages: the runs, then each chosen run's tasks.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 2_000
"""Number of resamples of every bootstrap interval"""
SEED = 0
"""Seed of every interval's resamples, so that the same values always have the same interval"""
CVAR_TASKS = 20
"""Number of tasks whose worst 5 % are one task; of fewer tasks, the worst 5 % cannot be told"""


def interquartile_mean(values: FloatArray) -> FloatArray:
    """Return the mean over runs and tasks without the lowest and the highest quarter of the values.

    A quarter of the values is rounded down, as in Agarwal et al. (2021, section 4.3).

    Args:
        values: (run, task, …).

    Returns:
        The means, (…).
    """
    ordered = np.sort(values.reshape(-1, *values.shape[2:]), axis=0)
    cut = len(ordered) // 4
    mean: FloatArray = ordered[cut : len(ordered) - cut].mean(0)
    return mean


def cvar(values: FloatArray) -> FloatArray:
    """Return the conditional value at risk at 5 %: the mean of the worst 5 % of values (Rockafellar and Uryasev 2000).

    The lowest values are the worst. Of n values n / 20 count, those of all runs together. If that is not a whole
    number, the last one counts by the fraction, as in Rockafellar and Uryasev (2002) for finitely many outcomes. Its
    bootstrap interval is too narrow with a few dozen values: resamples hold no task that is worse than the worst seen.

    Args:
        values: (run, task, …), of 20 tasks or more.

    Returns:
        The means, (…).

    Raises:
        ValueError: there are fewer than 20 tasks.
    """
    if values.shape[1] < CVAR_TASKS:
        raise ValueError(
            f"values must be of {CVAR_TASKS} tasks or more, found {values.shape[1]}: their worst 5 % are less than one "
            "task. Evaluate on more tasks."
        )
    ordered = np.sort(values.reshape(-1, *values.shape[2:]), axis=0)
    worst = len(ordered) / CVAR_TASKS
    counted = int(np.ceil(worst))
    weights = np.minimum(worst - np.arange(counted), 1.0)
    mean: FloatArray = np.tensordot(weights, ordered[:counted], 1) / worst
    return mean


def performance_profile(values: FloatArray, thresholds: ArrayLike) -> FloatArray:
    """Return the share of runs and tasks whose value is above each threshold (Agarwal et al. 2021, section 4.2).

    Args:
        values: (run, task).
        thresholds: (threshold,).

    Returns:
        The shares, (threshold,).
    """
    share: FloatArray = (values[..., None] > np.asarray(thresholds)).mean((0, 1))
    return share


def probability_of_improvement(ours: FloatArray, theirs: FloatArray) -> float:
    """Return the probability P(ours > theirs) on a task, the mean over tasks; a tie counts half.

    Agarwal et al. (2021, section 4.3) use the Mann-Whitney statistic of each task: the share of pairs of one of our
    runs and one of theirs in which ours is better. Here each task has one run of each, and so one pair.

    Args:
        ours: (run, task).
        theirs: (run, task), on the same tasks.

    Raises:
        ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"ours and theirs must be of the same runs and tasks; found {ours.shape} and {theirs.shape}.")
    return float(((ours > theirs) + 0.5 * (ours == theirs)).mean())


def mean_over_tasks(values: FloatArray) -> FloatArray:
    """Return the mean over the first dimension of values (task, …) without NaN; NaN if nothing is left."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def mean_interval(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ``interval`` of the mean over the tasks of one run.

    Args:
        values: (task, …); NaN is left out.

    Returns:
        The lower and the upper end, (…) each; NaN if no value is known.
    """
    return interval(lambda chosen: mean_over_tasks(chosen[0]), values[None])


def interval(statistic: Callable[..., ArrayLike], *samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % percentile bootstrap interval of a statistic, resampling runs and then the tasks of each.

    With a single run, only its tasks are resampled. With few runs, the interval is rough: three runs have ten different
    resamples.

    Args:
        statistic: a function of as many arrays as there are samples. A resample whose statistic is NaN is left out.
        samples: (run, task, …) each, of the same runs and tasks; all are resampled alike.

    Returns:
        The lower and the upper end, each with the statistic's shape.

    Raises:
        ValueError: the samples' runs and tasks differ, or there are none.
    """
    shapes = {sample.shape[:2] for sample in samples}
    if len(shapes) != 1 or 0 in min(shapes):
        raise ValueError(f"samples must be of the same runs and tasks, one at least; found {sorted(shapes)}.")
    n_runs, n_tasks = shapes.pop()
    rng = np.random.default_rng(SEED)
    runs = rng.integers(n_runs, size=(RESAMPLES, n_runs, 1))
    tasks = rng.integers(n_tasks, size=(RESAMPLES, n_runs, n_tasks))
    found = [statistic(*(sample[chosen] for sample in samples)) for chosen in zip(runs, tasks, strict=True)]
    low, high = quantiles(np.asarray(found, dtype=np.float64), (0.025, 0.975))
    return low, high


def quantiles(values: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return quantiles (level, …) over the first dimension of values (n, …) without NaN; NaN if nothing is left."""
    columns = [column[np.isfinite(column)] for column in values.reshape(len(values), -1).T]
    nothing = np.full(len(levels), np.nan)
    found = [np.quantile(column, levels) if column.size else nothing for column in columns]
    return np.stack(found, axis=1).reshape(len(levels), *values.shape[1:])
