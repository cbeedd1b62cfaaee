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
