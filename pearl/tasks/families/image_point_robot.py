"""The dense point robot with image observations: the goal is inferred from rewards, the position from pixels."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pearl.tasks.distribution import Task
from pearl.tasks.families.image_point_robot_env import IMAGE_ID, ImagePointRobotVectorEnv, locate
from pearl.tasks.families.point_robot import MovableGoal, PointRobot
from pearl.tasks.families.point_robot_env import Floats
from pearl.tasks.registry import register


class ImagePointRobot(MovableGoal):
    """`PointRobot` that observes a picture from above, (64, 64, 3) uint8, instead of the position.

    The same generator states and seeds give both families the same tasks, starts and rewards, except where walls keep
    the robot in the picture, see `pearl.tasks.families.image_point_robot_env.ImagePointRobotEnv`.
    """

    name = "image-point-robot"
    _vector_env = ImagePointRobotVectorEnv

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks ``{"goal": [x, y]}``; the same generator state gives the same tasks."""
        return PointRobot().sample(n, rng)

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, truncated after 20 steps."""
        return gym.make(IMAGE_ID, goal=task.params["goal"], render_mode=render_mode)

    def make_vec_env(self, tasks: Sequence[Task]) -> ImagePointRobotVectorEnv:
        """Build the environments of all tasks as one, computed in numpy."""
        return ImagePointRobotVectorEnv([task.params["goal"] for task in tasks])

    def oracle_action(self, tasks: Sequence[Task], observation: NDArray[Any]) -> Floats:
        """Go to the known goal as `PointRobot`'s oracle does, from the position in the picture.

        The position is found to within 0.00125 along each axis, and so the robot gets that close to the goal.

        Args:
            tasks: one task per row.
            observation: pictures, (task, 64, 64, 3) or (task, 12288), values from 0 to 255 of any type.

        Returns:
            Actions, (task, 2).

        Raises:
            ValueError: not one task per row, or not pictures of one robot each.
        """
        return PointRobot().oracle_action(tasks, locate(observation))


register(
    ImagePointRobot.name, ImagePointRobot, "the point robot seen in pictures; its goal is not in them, only in rewards"
)
