"""Checks of a figure's arguments: shapes, order, and values that are not finite."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def as_array(name: str, values: ArrayLike, dims: Sequence[str]) -> FloatArray:
    """Return values as float64 of shape `dims`, with NaN for each value that is not finite.

    Args:
        name: the argument's name, for the message.
        values: numbers.
        dims: a name or a size for each dimension, such as ("task", "2"); a name stands for any size from 1.

    Raises:
        ValueError: `values` are not numbers, do not have these dimensions, or are empty.
    """
    expected = f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers of shape {expected}: {error}") from error
    sizes_fit = array.ndim == len(dims) and all(
        size == int(dim) if dim.isdecimal() else size > 0 for size, dim in zip(array.shape, dims, strict=True)
    )
    if not sizes_fit:
        raise ValueError(f"{name} must have shape {expected}, none of them empty; found {array.shape}")
    array[~np.isfinite(array)] = np.nan
    return array


def as_increasing(name: str, values: ArrayLike, dim: str) -> FloatArray:
    """Return values of shape (dim,) that are finite and never decrease.

    Raises:
        ValueError: a value is not finite, or smaller than the one before.
    """
    array = as_array(name, values, (dim,))
    if np.isnan(array).any() or (np.diff(array) < 0).any():
        raise ValueError(f"{name} must be finite and never decrease; found {array.tolist()[:8]}")
    return array


def check_references(references: Mapping[str, float]) -> None:
    """Check that every reference value can be drawn.

    Raises:
        ValueError: a reference is not finite.
    """
    for label, value in references.items():
        if not np.isfinite(value):
            raise ValueError(f"the reference {label!r} must be a finite number; found {value}. Leave it out instead")


def mean_over_tasks(values: FloatArray) -> FloatArray:
    """The mean over the first dimension of values (task, n), leaving NaN out; NaN where nothing is left."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def quantiles_over_tasks(values: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (level, n) over the first dimension of values (task, n), leaving NaN out; NaN where nothing is left."""
    columns = [column[np.isfinite(column)] for column in values.T]
    nothing = np.full(len(levels), np.nan)
    return np.stack([np.quantile(column, levels) if column.size else nothing for column in columns], axis=1)


def bootstrap_interval(
    values: FloatArray, rng: np.random.Generator, *, resamples: int = 2000
) -> tuple[FloatArray, FloatArray]:
    """The percentile bootstrap's 95 % interval of the mean over tasks.

    Args:
        values: (task, n); NaN is left out.
        rng: draws the tasks of each resample.
        resamples: how many.

    Returns:
        The lower and the upper end, each (n,).
    """
    tasks = rng.integers(len(values), size=(resamples, len(values)))
    means = np.stack([mean_over_tasks(values[chosen]) for chosen in tasks])
    low, high = quantiles_over_tasks(means, (0.025, 0.975))
    return low, high
