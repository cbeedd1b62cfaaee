"""Environments of the point robot, single and vectorised.

The geometry is that of the reference implementation of PEARL (Rakelly et al. 2019), so that returns are comparable.
"""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray

from pearl.tasks.families.point_robot_frame import draw_frame
from pearl.tasks.vector_env import checked_reset_mask

EPISODE_STEPS = 20
STEP_LENGTH = 0.1
GOAL_RADIUS = 0.2

DENSE_ID = "pearl/PointRobot-v0"
SPARSE_ID = "pearl/SparsePointRobot-v0"

_LOWEST, _HIGHEST, _STEP = np.array([-1, 1, STEP_LENGTH], np.float32)
_START_STREAM = int.from_bytes(b"start")

Floats = NDArray[np.float32]


class PointRobotEnv(gym.Env[Floats, Floats]):
    """One point robot that moves by up to 0.1 along each axis a step and observes its position, (2,).

    Dense: the start is uniform in [-1, 1]², and the reward is minus the distance from the new position to the goal.
    Sparse: the start is the origin, and the reward is 1 - distance within 0.2 of the goal and 0 outside; minus the
    distance is in ``info["training_reward"]``, for critics that may use it in meta-training.
    Episodes never terminate. ``gymnasium.make`` adds a time limit of 20 steps.

    Args:
        goal: (x, y).
        sparse: whether the robot is the sparse one.
        wall: position of the walls, ±wall along each axis, at least 1; None for the open plane.
        render_mode: "rgb_array" for frames, (256, 256, 3) uint8.

    Raises:
        ValueError: the goal is not two finite numbers.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        goal: Sequence[float] = (0.0, 1.0),
        *,
        sparse: bool = False,
        wall: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.goal = as_goals([goal])[0]
        self.sparse = sparse
        self.wall = wall
        self.render_mode = render_mode
        self.observation_space = _observation_space()
        self.action_space = _action_space()
        self._trail = [np.zeros(2, np.float32)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode; the same seed gives the same start. There are no options."""
        super().reset(seed=seed)
        if seed is not None:
            self._np_random = _start_generator(seed)
        self._trail = [_draw_starts(self.sparse, self.np_random, (2,))]
        return self._trail[-1].copy(), {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Move by 0.1 times the action, (2,), clipped to [-1, 1].

        Raises:
            ValueError: the action has another shape or holds NaN.
        """
        position, distance = _move(self._trail[-1], _as_actions(action, (2,)), self.goal, self.wall)
        self._trail.append(position)
        reward = float(sparse_reward(distance) if self.sparse else -distance)
        info = {"training_reward": float(-distance)} if self.sparse else {}
        return position.copy(), reward, False, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the episode so far: start, path, robot and goal; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn('Nothing is rendered: build the environment with render_mode="rgb_array".')
            return None
        return draw_frame(self.goal, np.array(self._trail), goal_radius=GOAL_RADIUS if self.sparse else None)


class PointRobotVectorEnv(VectorEnv[Floats, Floats, NDArray[Any]]):
    """One point robot per goal, moved together in numpy; the transitions are those of `PointRobotEnv`, bit for bit.

    A robot is truncated after 20 steps of its own and resets alone, through ``reset(options={"reset_mask": mask})``
    with mask (task,) bool (``AutoresetMode.DISABLED``). Returned arrays are not reused.

    Args:
        goals: (task, 2).
        sparse: sparse rewards and starts at the origin, see `PointRobotEnv`.
        wall: position of the walls, see `PointRobotEnv`.
        render_mode: "rgb_array" for one frame a robot.

    Raises:
        ValueError: the goals are not (task, 2) or not finite.
    """

    metadata: dict[str, Any] = {**PointRobotEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(
        self, goals: ArrayLike, *, sparse: bool = False, wall: float | None = None, render_mode: str | None = None
    ) -> None:
        self.goals = as_goals(goals)
        self.sparse = sparse
        self.wall = wall
        self.render_mode = render_mode
        self.num_envs = n = len(self.goals)
        self.single_observation_space = _observation_space()
        self.single_action_space = _action_space()
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, n)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, n)
        self.spec = gym.spec(SPARSE_ID if sparse else DENSE_ID)
        self._position = np.zeros((n, 2), np.float32)
        self._trail = np.zeros((n, EPISODE_STEPS + 1, 2), np.float32)
        # Robots that were never reset count as ended.
        self._steps = np.full(n, EPISODE_STEPS)
        self._longest = EPISODE_STEPS
        self._generators: list[np.random.Generator] | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode of every robot, or of those in ``options["reset_mask"]``, (task,) bool.

        Args:
            seed: a number gives all robots one generator. A list gives each robot that is reset its own, so that robot
                i starts where a `PointRobotEnv` reset with ``seed[i]`` starts. None keeps the present generators.
            options: only "reset_mask" is used; the dictionary is not changed.

        Returns:
            Every robot's observation, (task, 2), and an empty dictionary.

        Raises:
            TypeError: the mask is not a numpy array of bool.
            ValueError: the mask or the list of seeds has another length than there are robots, or no robot is reset.
        """
        mask = checked_reset_mask(options, self.num_envs)
        self._seed(seed, mask)
        if self._generators is None:
            starts = _draw_starts(self.sparse, self.np_random, (int(mask.sum()), 2))
        else:
            starts = np.array([_draw_starts(self.sparse, self._generators[i], (2,)) for i in np.flatnonzero(mask)])
        self._position[mask] = self._trail[mask, 0] = starts
        self._steps[mask] = 0
        self._longest = int(self._steps.max())
        return self._position.copy(), {}

    def _seed(self, seed: int | Sequence[int | None] | None, mask: NDArray[np.bool_]) -> None:
        if seed is None:
            return
        if isinstance(seed, int):
            super().reset(seed=seed)
            self._np_random = _start_generator(seed)
            self._generators = None
            return
        if len(seed) != self.num_envs:
            raise ValueError(f"A list of seeds must have one for each of {self.num_envs} robots, got {len(seed)}.")
        if self._generators is None:
            self._generators = [self.np_random] * self.num_envs
        for i, own in enumerate(seed):
            if mask[i] and own is not None:
                self._generators[i] = _start_generator(own)

    def step(
        self, actions: Floats
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Move every robot by 0.1 times its action, clipped to [-1, 1].

        Args:
            actions: (task, 2).

        Returns:
            Observations (task, 2); rewards, terminations and truncations (task,); and for sparse rewards
            "training_reward" (task,) with its mask "_training_reward".

        Raises:
            ValueError: the actions have another shape or hold NaN.
            ResetNeeded: an environment has ended, or was never reset.
        """
        if self._longest >= EPISODE_STEPS:
            ended = np.flatnonzero(self._steps >= EPISODE_STEPS).tolist()
            raise ResetNeeded(
                f"Environments {ended} have ended or were never reset; reset them before the next step: "
                "reset(options={'reset_mask': mask})."
            )
        actions = _as_actions(actions, (self.num_envs, 2))
        self._position, distance = _move(self._position, actions, self.goals, self.wall)
        self._steps += 1
        self._longest += 1
        if self.render_mode is not None:
            self._trail[np.arange(self.num_envs), self._steps] = self._position
        reward, infos = -distance, {}
        if self.sparse:
            infos = {"training_reward": reward, "_training_reward": np.ones(self.num_envs, np.bool_)}
            reward = sparse_reward(distance)
        truncations = self._steps >= EPISODE_STEPS
        return self._position.copy(), reward, np.zeros(self.num_envs, np.bool_), truncations, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Draw each robot's episode so far, one frame a robot; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn('Nothing is rendered: build the environments with render_mode="rgb_array".')
            return None
        episodes = zip(self.goals, self._trail, self._steps, strict=True)
        radius = GOAL_RADIUS if self.sparse else None
        return tuple(draw_frame(goal, trail[: steps + 1], goal_radius=radius) for goal, trail, steps in episodes)


def _observation_space() -> gym.spaces.Box[np.float32]:
    return gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)


def _action_space() -> gym.spaces.Box[np.float32]:
    return gym.spaces.Box(-1, 1, (2,), np.float32)


def as_goals(goals: ArrayLike) -> NDArray[np.float64]:
    """Return goals as (n, 2), checked to be finite."""
    array = np.array(goals, np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise ValueError(f"A goal must be two finite numbers (x, y), got {goals!r}.")
    return array


def _as_actions(actions: ArrayLike, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(actions, np.float32)
    if array.shape != shape:
        raise ValueError(f"The action must have the shape {shape}, got {array.shape}.")
    return array


def _start_generator(seed: int) -> np.random.Generator:
    """Return a separate random stream: otherwise starts would equal the goals that ``default_rng(seed)`` samples."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_START_STREAM,)))


def _draw_starts(sparse: bool, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return np.zeros(shape, np.float32) if sparse else rng.uniform(-1, 1, shape).astype(np.float32)


def _move(
    position: Floats, action: Floats, goal: NDArray[np.float64], wall: float | None
) -> tuple[Floats, NDArray[np.float64]]:
    """Return the new position and its distance to the goal, for arrays (..., 2)."""
    # np.clip takes three times as long on arrays this small.
    moved: Floats = position + _STEP * np.minimum(np.maximum(action, _LOWEST), _HIGHEST)
    if wall is not None:
        moved = np.minimum(np.maximum(moved, -wall), wall)
    distance = distance_to(moved, goal)
    # A NaN in any action makes the product NaN, and one number is cheaper to check than all.
    if math.isnan(np.dot(distance, distance)):
        raise ValueError(f"An action holds NaN: {action!r}.")
    return moved, distance


def distance_to(position: Floats, goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance from positions to goals, (..., 2) each."""
    offset = position - goal
    distance: NDArray[np.float64] = np.hypot(offset[..., 0], offset[..., 1])
    return distance


def sparse_reward(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - distance within the goal's radius and 0 outside."""
    return np.where(distance <= GOAL_RADIUS, 1 - distance, 0.0)


gym.register(
    DENSE_ID, f"{__name__}:{PointRobotEnv.__name__}", max_episode_steps=EPISODE_STEPS, kwargs={"sparse": False}
)
gym.register(
    SPARSE_ID, f"{__name__}:{PointRobotEnv.__name__}", max_episode_steps=EPISODE_STEPS, kwargs={"sparse": True}
)
