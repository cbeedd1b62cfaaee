"""Frames of the point robots."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import ImageDraw

_FRAME_PIXELS = 256
_OVERSAMPLING = 4
_HALF_WIDTH = 1.5
_PIXELS_PER_UNIT = _FRAME_PIXELS * _OVERSAMPLING / (2 * _HALF_WIDTH)

PAPER, GRID, BOUNDARY = (250, 250, 247), (233, 233, 228), (196, 196, 190)
_GOAL, _GOAL_HALO, ROBOT = (214, 69, 65), (250, 221, 217), (31, 90, 150)
_PATH_OLD, _PATH_NEW = np.array([190, 212, 234]), np.array([62, 124, 186])


def draw_frame(
    goal: NDArray[np.float64], trail: NDArray[np.float32], *, goal_radius: float | None
) -> NDArray[np.uint8]:
    """Draw an episode with antialiasing; positions beyond ±1.5 are drawn at the frame's edge.

    Args:
        goal: (2,).
        trail: positions so far, (step, 2).
        goal_radius: radius of the rewarded disc around the goal, drawn with the half circle of goals; None for goals
            anywhere in the square.

    Returns:
        A frame, (256, 256, 3).
    """
    from PIL import Image, ImageDraw  # a tenth of pearl's import time, and training draws nothing

    image = Image.new("RGB", (_FRAME_PIXELS * _OVERSAMPLING,) * 2, PAPER)
    draw = ImageDraw.Draw(image)
    _draw_world(draw, half_circle=goal_radius is not None)
    if goal_radius is not None:
        draw.circle(_pixel(goal), goal_radius * _PIXELS_PER_UNIT, fill=_GOAL_HALO, outline=_GOAL, width=_OVERSAMPLING)
    points = [_pixel(position) for position in trail]
    for i, segment in enumerate(pairwise(points)):
        age = (i + 1) / (len(points) - 1)
        colour = tuple((_PATH_OLD + age * (_PATH_NEW - _PATH_OLD)).astype(int).tolist())
        draw.line(segment, fill=colour, width=3 * _OVERSAMPLING)
        draw.circle(segment[1], 3 * _OVERSAMPLING, fill=colour)
    draw.circle(points[0], 5 * _OVERSAMPLING, fill=PAPER, outline=ROBOT, width=2 * _OVERSAMPLING)
    draw.circle(_pixel(goal), 7 * _OVERSAMPLING, fill=_GOAL)
    draw.circle(_pixel(goal), 3 * _OVERSAMPLING, fill=PAPER)
    draw.circle(points[-1], 8 * _OVERSAMPLING, fill=ROBOT, outline=PAPER, width=2 * _OVERSAMPLING)
    return np.array(image.reduce(_OVERSAMPLING))


def _draw_world(draw: "ImageDraw.ImageDraw", *, half_circle: bool) -> None:
    """Draw a grid and the region of the goals: the half circle or the square."""
    for line in (-1.0, -0.5, 0.0, 0.5, 1.0):
        draw.line([_pixel((line, -_HALF_WIDTH)), _pixel((line, _HALF_WIDTH))], fill=GRID, width=_OVERSAMPLING)
        draw.line([_pixel((-_HALF_WIDTH, line)), _pixel((_HALF_WIDTH, line))], fill=GRID, width=_OVERSAMPLING)
    corners = [_pixel((-1.0, 1.0)), _pixel((1.0, -1.0))]
    if half_circle:
        draw.arc(corners, 180, 360, fill=BOUNDARY, width=2 * _OVERSAMPLING)
    else:
        draw.rectangle(corners, outline=BOUNDARY, width=2 * _OVERSAMPLING)


def _pixel(position: Iterable[float]) -> tuple[float, float]:
    x, y = (min(max(float(value), -_HALF_WIDTH), _HALF_WIDTH) for value in position)
    return (x + _HALF_WIDTH) * _PIXELS_PER_UNIT, (_HALF_WIDTH - y) * _PIXELS_PER_UNIT
