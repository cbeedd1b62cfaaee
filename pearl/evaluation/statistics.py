"""What a few runs say of an algorithm: robust means, shares and intervals (Agarwal et al. 2021, section 4).

Values are those of runs on tasks, (run, task, …). Agarwal et al. have the same tasks in every run, take them as strata
and resample the runs of each. Here a run is a seed, which draws test tasks of its own: each task is met by one run, and
both vary. ``interval`` therefore resamples in two stages, the runs and then each chosen run's tasks.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 2_000


def interquartile_mean(values: FloatArray) -> FloatArray:
    """Return the mean over runs and tasks without the lowest and the highest quarter of them.

    What a quarter of n is, is rounded down, as in Agarwal et al. (2021, section 4.3).

    Args:
        values: (run, task, …).

    Returns:
        Of what is left of the shape, (…).
    """
    ordered = np.sort(values.reshape(-1, *values.shape[2:]), axis=0)
    cut = len(ordered) // 4
    mean: FloatArray = ordered[cut : len(ordered) - cut].mean(0)
    return mean


def performance_profile(values: FloatArray, thresholds: ArrayLike) -> FloatArray:
    """Return the share of runs and tasks whose value is above each threshold (Agarwal et al. 2021, section 4.2).

    Args:
        values: (run, task).
        thresholds: (threshold,).

    Returns:
        (threshold,).
    """
    share: FloatArray = (values[..., None] > np.asarray(thresholds)).mean((0, 1))
    return share


def probability_of_improvement(ours: FloatArray, theirs: FloatArray) -> float:
    """Return the probability P(ours > theirs) on a task, the mean over tasks; a tie counts half.

    For each task Agarwal et al. (2021, section 4.3) take Mann and Whitney's statistic, the share of pairs of a run of
    ours and one of theirs in which ours is ahead. Here a task was met by one run of each, which are its only pair.

    Args:
        ours: (run, task).
        theirs: of the same tasks, (run, task).

    Raises:
        ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"ours and theirs must be of the same runs and tasks; found {ours.shape} and {theirs.shape}.")
    return float(((ours > theirs) + 0.5 * (ours == theirs)).mean())


def interval(
    statistic: Callable[..., ArrayLike], *samples: FloatArray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % percentile bootstrap interval of a statistic, resampling runs and then the tasks of each.

    A single run is all that there is to choose, and its interval is of tasks alone. Of few runs the interval is rough:
    three can be drawn in ten ways.

    Args:
        statistic: of as many arrays as there are samples.
        samples: (run, task, …) each, of the same runs and tasks; all are resampled alike.
        resamples: how many.
        seed: of the draws, so that the same values have the same interval.

    Returns:
        The lower and the upper end, each of the statistic's shape.

    Raises:
        ValueError: the samples' runs and tasks differ, or there are none.
    """
    shapes = {sample.shape[:2] for sample in samples}
    if len(shapes) != 1 or 0 in min(shapes):
        raise ValueError(f"samples must be of the same runs and tasks, one at least; found {sorted(shapes)}.")
    n_runs, n_tasks = shapes.pop()
    rng = np.random.default_rng(seed)
    runs = rng.integers(n_runs, size=(resamples, n_runs, 1))
    tasks = rng.integers(n_tasks, size=(resamples, n_runs, n_tasks))
    found = [statistic(*(sample[chosen] for sample in samples)) for chosen in zip(runs, tasks, strict=True)]
    low, high = np.percentile(np.asarray(found, dtype=np.float64), [2.5, 97.5], axis=0)
    return low, high
