"""Layouts of images: which axes of an observation are its height and width, and which its channels."""

from functools import lru_cache

MIN_SIDE = 16
"""Pixels that each side of an image has at least: the default convolutions shrink an image 16 times"""


@lru_cache
def height_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of an image's height, None where a shape is that of no image; the next axis is its width.

    Height and width are neighbouring axes of at least ``MIN_SIDE`` pixels. Every other axis holds channels, or frames
    of a stack: it is shorter than ``MIN_SIDE`` or at most half as long as the shorter side. No two places fit.
    """
    for axis in range(len(shape) - 1 if all(shape) else 0):
        shorter = min(shape[axis : axis + 2])
        others = shape[:axis] + shape[axis + 2 :]
        if shorter >= MIN_SIDE and all(size < MIN_SIDE or 2 * size <= shorter for size in others):
            return axis
    return None


def is_ambiguous(shape: tuple[int, ...]) -> bool:
    """Whether a shape has two sides of an image's size, but none that can be told from its channels."""
    return all(shape) and sum(size >= MIN_SIDE for size in shape) >= 2 and height_axis(shape) is None
