"""Point robots that must find their goal: dense rewards in a square, and sparse ones on a half circle."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from pearl.tasks.distribution import Plane, Task, TaskDistribution
from pearl.tasks.families.image_point_robot_env import ImagePointRobotVectorEnv
from pearl.tasks.families.point_robot_env import (
    DENSE_ID,
    GOAL_RADIUS,
    SPARSE_ID,
    STEP_LENGTH,
    Floats,
    PointRobotVectorEnv,
    as_goals,
    distance_to,
    sparse_reward,
)
from pearl.tasks.registry import register


class MovableGoal(TaskDistribution):
    """Base class of point robots; a task is ``{"goal": [x, y]}``, and the goal of a running environment can move."""

    _vector_env: ClassVar[type[PointRobotVectorEnv | ImagePointRobotVectorEnv]]
    """Class of the environments that ``make_vec_env`` builds"""

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Move the goal; the robot stays where it is."""
        env.get_wrapper_attr("goal")[:] = task.params["goal"]
        return True

    def change_vec_task(self, envs: VectorEnv[Any, Any, Any], row: int, task: Task) -> bool:
        """Move one robot's goal; the robot stays where it is."""
        if not isinstance(envs, self._vector_env):
            return False
        envs.goals[row] = task.params["goal"]
        return True


class _GoalReaching(MovableGoal):
    """Base class of the dense and the sparse family."""

    _vector_env = PointRobotVectorEnv
    _sparse: ClassVar[bool]
    _id: ClassVar[str]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, truncated after 20 steps."""
        return gym.make(self._id, goal=task.params["goal"], render_mode=render_mode)

    def make_vec_env(self, tasks: Sequence[Task]) -> PointRobotVectorEnv:
        """Build the environments of all tasks as one, computed in numpy."""
        return PointRobotVectorEnv(_goals(tasks, len(tasks)), sparse=self._sparse)

    def plane(self, task: Task) -> Plane:
        """Return the goal; in the sparse family it lies on the half circle and counts as reached within 0.2."""
        x, y = task.params["goal"]
        return Plane((x, y), GOAL_RADIUS if self._sparse else None, half_circle=self._sparse)

    def oracle_action(self, tasks: Sequence[Task], observation: Floats) -> Floats:
        """Go to the known goal as fast as each axis allows: clip((goal - position) / 0.1, -1, 1).

        No policy has a higher return, at any horizon. After t steps the error along an axis is at least its initial
        value less 0.1 t, and at least zero; the axes are limited separately, so this policy attains both bounds at
        once, at every step. The distance grows with either error and no reward here grows with the distance.
        The path is therefore diagonal first and then along one axis: heading straight for the goal is slower.

        Args:
            tasks: one task per row.
            observation: (task, 2).

        Returns:
            Actions, (task, 2).
        """
        towards = (_goals(tasks, len(observation)) - observation) / STEP_LENGTH
        return np.clip(towards, -1, 1).astype(np.float32)

    def relabel(
        self, tasks: Sequence[Task], observation: Floats, action: Floats, next_observation: Floats
    ) -> tuple[Floats, Floats]:
        """Compute the rewards of transitions under these tasks' goals; they depend on ``next_observation`` alone.

        Args:
            tasks: one task per row.
            observation: (task, step, 2).
            action: (task, step, 2).
            next_observation: (task, step, 2).

        Returns:
            The true reward and the training reward, each (task, step); the dense family's are equal.
        """
        distance = distance_to(next_observation, _goals(tasks, len(next_observation))[:, None])
        training_reward = (-distance).astype(np.float32)
        true_reward = sparse_reward(distance).astype(np.float32) if self._sparse else training_reward.copy()
        return true_reward, training_reward


class PointRobot(_GoalReaching):
    """Goals uniform in [-1, 1]², starts likewise, reward minus the distance."""

    name = "point-robot"
    _sparse = False
    _id = DENSE_ID

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks."""
        return [Task({"goal": goal}) for goal in rng.uniform(-1, 1, (n, 2)).tolist()]


class SparsePointRobot(_GoalReaching):
    """Goals on the upper half of the unit circle, starts at the origin, a reward only within 0.2 of the goal."""

    name = "sparse-point-robot"
    _sparse = True
    _id = SPARSE_ID

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks, their angles uniform in [0, π]; the same generator state gives the same tasks."""
        angle = rng.uniform(0, np.pi, n)
        return [Task({"goal": goal}) for goal in np.stack([np.cos(angle), np.sin(angle)], axis=1).tolist()]


def _goals(tasks: Sequence[Task], rows: int) -> NDArray[np.float64]:
    if len(tasks) != rows:
        raise ValueError(f"There must be one task per row, got {len(tasks)} tasks and {rows} rows.")
    return as_goals([task.params["goal"] for task in tasks])


register(PointRobot.name, PointRobot, "a point in the plane finds its goal; the reward is minus the distance")
register(
    SparsePointRobot.name, SparsePointRobot, "a point finds its goal on a half circle; rewarded only within 0.2 of it"
)
