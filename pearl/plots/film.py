"""Animations of rendered frames."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl.files.access import replacing
from pearl.plots.style import with_suffix

FASTEST_FPS = 50  # viewers slow down a GIF whose frames last less than 20 ms


def animation(path_gif: str | os.PathLike[str], frames: Sequence[NDArray[np.uint8]], *, fps: float = 12) -> Path:
    """Write rendered frames as a GIF that loops forever.

    Args:
        path_gif: the GIF file to write.
        frames: images, each uint8 of the same shape (height, width, 3).
        fps: frames per second, above 0 and at most 50. It is approximate: a GIF counts in hundredths of a second.

    Raises:
        ValueError: there is no frame, a frame is not such an image, the shapes differ, or `fps` is out of range.
    """
    target = with_suffix(path_gif, ".gif")
    if not len(frames):
        raise ValueError("frames is empty: give at least one image")
    if not 0 < fps <= FASTEST_FPS:
        raise ValueError(f"fps must lie in (0, {FASTEST_FPS}]; found {fps}")
    for index, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != frames[0].shape:
            raise ValueError(
                f"frames must be uint8 images of one shape (height, width, 3); frames[0] has shape {frames[0].shape}, "
                f"frames[{index}] is {frame.dtype} of shape {frame.shape}"
            )
    images = _with_one_palette([Image.fromarray(frame) for frame in frames])
    with replacing(target) as stream:
        images[0].save(
            stream, format="GIF", save_all=True, append_images=images[1:], duration=round(100 / fps) * 10, loop=0
        )
    return target


def _with_one_palette(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the images with one common palette: a palette per frame would flicker."""
    chosen = images[:: max(1, len(images) // 8)]
    width, height = images[0].size
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for index, image in enumerate(chosen):
        sheet.paste(image, (0, height * index))
    palette = sheet.quantize(256)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
