"""Environments of the dense point robot seen from above, single and vectorised.

A picture shows the robot, but not its goal.
"""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray

from pearl.tasks.families.point_robot_env import EPISODE_STEPS, Floats, PointRobotEnv, PointRobotVectorEnv
from pearl.tasks.families.point_robot_frame import BOUNDARY, GRID, PAPER, ROBOT

IMAGE_ID = "pearl/ImagePointRobot-v0"

PICTURE_SHAPE = (64, 64, 3)
WALL = 1.4

_CENTRE = 32
_PIXELS_PER_UNIT = 20
_RADIUS = 3.0
# Includes the antialiased rim. At the walls, 28 pixels from the centre, the whole disc is still in the picture.
_REACH = 3.5
_AREA = math.pi * _RADIUS**2
_AREA_TOLERANCE = 0.1
_COLOUR = np.array(ROBOT, np.float64)

Pictures = NDArray[np.uint8]


class ImagePointRobotEnv(gym.Env[Pictures, Floats]):
    """One dense point robot that observes a picture of itself from above, (64, 64, 3).

    The robot is `PointRobotEnv`'s: the same seed gives the same starts and rewards. In addition, walls keep each
    coordinate within ±1.4, so that the robot never leaves the picture. Starts and goals lie in [-1, 1]², away from the
    walls. The goal is not in the picture.
    Episodes never terminate. ``gymnasium.make`` adds a time limit of 20 steps.

    Args:
        goal: (x, y).
        render_mode: "rgb_array" for frames with the goal and the path, (256, 256, 3) uint8.

    Raises:
        ValueError: the goal is not two finite numbers.
    """

    metadata: dict[str, Any] = PointRobotEnv.metadata

    def __init__(self, goal: Sequence[float] = (0.0, 1.0), *, render_mode: str | None = None) -> None:
        self._robot = PointRobotEnv(goal, wall=WALL, render_mode=render_mode)
        self.goal = self._robot.goal
        self.render_mode = render_mode
        self.observation_space = _observation_space()
        self.action_space = self._robot.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pictures, dict[str, Any]]:
        """Begin an episode; the same seed gives the same start. There are no options."""
        super().reset(seed=seed)
        position, info = self._robot.reset(seed=seed)
        self._np_random = self._robot.np_random
        return draw_pictures(position[None])[0], info

    def step(self, action: Floats) -> tuple[Pictures, float, bool, bool, dict[str, Any]]:
        """Move by 0.1 times the action, (2,), clipped to [-1, 1], as far as the walls allow.

        Raises:
            ValueError: the action has another shape or holds NaN.
        """
        position, reward, terminated, truncated, info = self._robot.step(action)
        return draw_pictures(position[None])[0], reward, terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the episode so far: start, path, robot and goal; None without a render mode."""
        return self._robot.render()


class ImagePointRobotVectorEnv(VectorEnv[Pictures, Floats, NDArray[Any]]):
    """One robot per goal, moved and drawn together in numpy; the transitions are those of `ImagePointRobotEnv`.

    Resets, seeds and time limits are those of `PointRobotVectorEnv`. Returned arrays are not reused.

    Args:
        goals: (task, 2).
        render_mode: "rgb_array" for one frame a robot.

    Raises:
        ValueError: the goals are not (task, 2) or not finite.
    """

    metadata: dict[str, Any] = {**ImagePointRobotEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, goals: ArrayLike, *, render_mode: str | None = None) -> None:
        self._robots = PointRobotVectorEnv(goals, wall=WALL, render_mode=render_mode)
        self.goals = self._robots.goals
        self.render_mode = render_mode
        self.num_envs = n = self._robots.num_envs
        self.single_observation_space = _observation_space()
        self.single_action_space = self._robots.single_action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, n)
        self.action_space = self._robots.action_space
        self.spec = gym.spec(IMAGE_ID)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pictures, dict[str, Any]]:
        """Begin an episode of every robot, or of those in ``options["reset_mask"]``; see `PointRobotVectorEnv`.

        Returns:
            Every robot's picture, (task, 64, 64, 3), and an empty dictionary.
        """
        position, infos = self._robots.reset(seed=seed, options=options)
        self._np_random = self._robots.np_random
        return draw_pictures(position), infos

    def step(
        self, actions: Floats
    ) -> tuple[Pictures, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Move every robot by 0.1 times its action, clipped to [-1, 1], as far as the walls allow.

        Args:
            actions: (task, 2).

        Returns:
            Pictures (task, 64, 64, 3); rewards, terminations and truncations (task,); an empty dictionary.

        Raises:
            ValueError: the actions have another shape or hold NaN.
            ResetNeeded: an environment has ended, or was never reset.
        """
        position, reward, terminations, truncations, infos = self._robots.step(actions)
        return draw_pictures(position), reward, terminations, truncations, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Draw each robot's episode so far, one frame a robot; None without a render mode."""
        return self._robots.render()


def draw_pictures(position: Floats) -> Pictures:
    """Draw robots from above, each alone: a disc of radius 0.15 in the arena, 20 pixels a unit, y upwards.

    A pixel on the disc's rim mixes the colours of robot and floor in proportion to its covered area. Positions are
    therefore encoded more finely than a pixel, see `locate`.

    Args:
        position: (task, 2), within ±1.4.

    Returns:
        Pictures, (task, 64, 64, 3).
    """
    centre = _CENTRE + position * np.array([_PIXELS_PER_UNIT, -_PIXELS_PER_UNIT], np.float64)
    # Only the few pixels that the disc can touch are computed; the others are copied from the arena.
    touched = np.floor(centre - _REACH + 0.5).astype(np.intp)[..., None] + np.arange(2 * _REACH, dtype=np.intp)
    columns, rows = touched[:, 0, None, :], touched[:, 1, :, None]
    squares = (touched + 0.5 - centre[..., None]) ** 2
    distance = np.sqrt(squares[:, 0, None, :] + squares[:, 1, :, None])
    covered = np.minimum(np.maximum(_RADIUS + 0.5 - distance, 0), 1)[..., None]
    floor = _ARENA[rows, columns]
    pictures = np.repeat(_ARENA[None], len(position), axis=0)
    pictures[np.arange(len(position))[:, None, None], rows, columns] = np.rint(floor + covered * (_COLOUR - floor))
    return pictures


def locate(pictures: NDArray[Any]) -> Floats:
    """Find each robot in its picture by the centroid of its disc, given the arena without the robot.

    The error is below 0.00125 along each axis, a fortieth of a pixel (root mean square 0.0005).

    Args:
        pictures: (task, 64, 64, 3), or flattened to (task, 12288); values from 0 to 255 of any type.

    Returns:
        Positions, (task, 2).

    Raises:
        ValueError: the pictures have another shape, or the area that differs from the arena is not that of a robot.
    """
    flat = np.asarray(pictures).reshape(len(pictures), -1)
    if flat.shape[1] != _ARENA.size or np.shape(pictures)[1:] not in (PICTURE_SHAPE, (_ARENA.size,)):
        raise ValueError(
            f"Pictures must have the shape (task, {', '.join(map(str, PICTURE_SHAPE))}) or (task, {_ARENA.size}), got "
            f"{np.shape(pictures)}."
        )
    moments = (_ARENA.ravel() - flat.astype(np.float32)) @ _MOMENTS
    area = moments[:, 2:]
    if (np.abs(area - _AREA) > _AREA_TOLERANCE * _AREA).any():
        raise ValueError(
            "Not every picture shows one robot in the arena; give observations as the environment returns them, with "
            "values from 0 to 255."
        )
    return np.asarray(moments[:, :2] / area, np.float32)


def _observation_space() -> gym.spaces.Box[np.uint8]:
    return gym.spaces.Box(0, 255, PICTURE_SHAPE, np.uint8)


def _draw_arena() -> Pictures:
    """Draw a grid of half units, the square of starts and goals, and the walls, which the disc touches at ±1.4."""
    arena = np.full(PICTURE_SHAPE, PAPER, np.uint8)
    lines = _CENTRE + np.arange(-20, 21, 10)
    # A line falls between two pixels; half its strength on both is its antialiased look.
    on_a_line = np.concatenate([lines - 1, lines])
    arena[on_a_line] = arena[:, on_a_line] = _half(GRID)
    low, high = lines[0], lines[-1]
    for edge in (low - 1, low, high - 1, high):
        arena[edge, low - 1 : high + 1] = arena[low - 1 : high + 1, edge] = _half(BOUNDARY)
    arena[[0, -1]] = arena[:, [0, -1]] = BOUNDARY
    return arena


def _half(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.array(np.mean([PAPER, colour], axis=0), np.uint8)


def _find_moments(arena: Pictures) -> Floats:
    """Return the linear map from (arena - picture), flattened, to a disc's moments in x and y and its area.

    Summed over the colours, a pixel differs from the arena by its covered share of (arena - robot). A matrix product is
    the fastest way to sum over the pixels.
    """
    share = 1 / (arena - _COLOUR).sum(axis=2)
    along = (np.arange(PICTURE_SHAPE[0]) + 0.5 - _CENTRE) / _PIXELS_PER_UNIT
    moments = np.stack([share * along, share * -along[:, None], share], axis=2)
    return np.repeat(moments.reshape(-1, 3), 3, axis=0).astype(np.float32)


_ARENA = _draw_arena()
_MOMENTS = _find_moments(_ARENA)

gym.register(IMAGE_ID, f"{__name__}:{ImagePointRobotEnv.__name__}", max_episode_steps=EPISODE_STEPS)
