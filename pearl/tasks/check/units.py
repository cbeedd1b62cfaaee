"""Warnings about observations that float32 cannot tell apart, or that are read otherwise than they are meant."""

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.finite import FLOAT32_MAX
from agents.images import height_axis
from agents.spaces import is_image

FAR = 1e3
"""Factor above or below one beyond which numbers hamper learning where no running unit divides them"""
FEW_BYTES = 32
"""If all bytes of an image are smaller, they are probably symbols, not brightness"""
_LOST = 0.01
"""Largest rounding error of float32, as a share of an entry's range, without a warning"""
_NAMED = 5


class TaskDistributionWarning(UserWarning):
    """Meta-training will run on a task distribution but learn badly."""


class Extent:
    """Range of each entry of an environment's observations, (observation_dim,), in double precision.

    Args:
        space: the observation space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self._space = space
        self._image = is_image(space)
        shape = () if self._image else gym.spaces.flatdim(space)
        self.lowest, self.highest = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.rounding = np.zeros(shape)
        """Largest rounding error of each entry in float32"""

    def see(self, observation: Any) -> None:
        """Extend the range by an observation; for an image, by its smallest and its largest byte."""
        if self._image:
            exact = np.array([np.min(observation), np.max(observation)], np.float64)
            lowest, highest = exact
        else:
            lowest = highest = exact = exact_row(self._space, observation)
            self.rounding = np.maximum(self.rounding, np.abs(exact - exact.astype(np.float32)))
        self.lowest, self.highest = np.minimum(self.lowest, lowest), np.maximum(self.highest, highest)


def exact_row(space: gym.Space[Any], observation: Any) -> NDArray[np.float64]:
    """Return an observation as a row, (observation_dim,), in double precision."""
    return np.asarray(gym.spaces.flatten(space, observation), np.float64)


def overflow(values: NDArray[np.float64]) -> str | None:
    """Return a message about a finite number that float32 cannot hold; None if there is none."""
    beyond = values[np.isfinite(values) & (np.abs(values) > FLOAT32_MAX)]
    if not beyond.size:
        return None
    return (
        f"has the number {beyond[0]:.3g}, which is infinite in float32: agents use float32, up to {FLOAT32_MAX:.2g}. "
        "Scale it to about one in make_env"
    )


def warn_of_units(space: gym.Space[Any], extents: Sequence[Extent], *, stacklevel: int) -> None:
    """Warn about observations that agents cannot read as they are meant.

    Their size does not matter, nor does that of rewards: agents learn in running units.

    Args:
        space: the observation space.
        extents: ranges of the observations of several episodes.
        stacklevel: stack level that the warnings name; 1 is the caller of this function.
    """
    for warning in [*_of_shape(space), *_of_observations(space, extents)]:
        warnings.warn(warning, TaskDistributionWarning, stacklevel=stacklevel + 1)


def _of_shape(space: gym.Space[Any]) -> list[str]:
    if not isinstance(space, gym.spaces.Box) or height_axis(space.shape) is None or is_image(space):
        return []
    if space.dtype.kind in "biu" and space.high.max() < FEW_BYTES:  # Symbols, by their bounds.
        return []
    return [
        f"Observations have the shape {space.shape} of an image, but are {space.dtype} from {space.low.min()} to "
        f"{space.high.max()}: they are treated as a vector of {gym.spaces.flatdim(space)} float32 numbers. If they are "
        "images, return uint8 in a Box from 0 to 255."
    ]


def _of_observations(space: gym.Space[Any], extents: Sequence[Extent]) -> list[str]:
    lowest = np.min([extent.lowest for extent in extents], axis=0)
    highest = np.max([extent.highest for extent in extents], axis=0)
    if is_image(space):
        return _of_bytes(float(lowest), float(highest))
    if not lowest.size:
        return []
    rounding = np.max([extent.rounding for extent in extents], axis=0)
    magnitude, spread = np.maximum(np.abs(lowest), np.abs(highest)), highest - lowest
    lost = (magnitude > FAR) & (spread > 0) & (rounding > _LOST * spread)
    if not lost.any():
        return []
    entry = int(np.argmax(lost))
    return [
        f"Observations change by less than float32, which agents use, can resolve ({_entries(lost)}): entry {entry} is "
        f"about {magnitude[entry]:.6g} and changes by {spread[entry]:.3g}. Normalising does not restore this. Return "
        "the change alone, for example the time since the reset."
    ]


def _of_bytes(lowest: float, highest: float) -> list[str]:
    if not lowest < highest < FEW_BYTES:
        return []
    return [
        f"Observations are treated as images, but no byte exceeds {highest:g} of 255. If their bytes are symbols, such "
        "as a grid's, flatten them with gymnasium.wrappers.FlattenObservation; else brighten the images."
    ]


def _entries(chosen: NDArray[np.bool_]) -> str:
    numbers = np.flatnonzero(chosen)
    return "entries " + ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
