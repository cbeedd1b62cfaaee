"""Layouts of images: the axes of height, width and channels in an observation."""

from functools import lru_cache

MIN_SIDE = 16
"""Minimum height and width of an image, in pixels: the default convolutions shrink an image 16 times"""


@lru_cache
def height_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of an image's height, or None if the shape is not an image's. The next axis is the width.

    Height and width are neighbouring axes of at least ``MIN_SIDE`` pixels. Every other axis, of channels or stacked
    frames, is shorter than ``MIN_SIDE`` or at most half as long as the shorter side. This leaves at most one choice.
    """
    for axis in range(len(shape) - 1 if all(shape) else 0):
        shorter = min(shape[axis : axis + 2])
        others = shape[:axis] + shape[axis + 2 :]
        if shorter >= MIN_SIDE and all(size < MIN_SIDE or 2 * size <= shorter for size in others):
            return axis
    return None


def is_ambiguous(shape: tuple[int, ...]) -> bool:
    """Whether a shape has two axes of an image's size, but height and width cannot be told from channels."""
    return all(shape) and sum(size >= MIN_SIDE for size in shape) >= 2 and height_axis(shape) is None
