"""MuJoCo families on Gymnasium's v5 models, with the definitions of the reference implementation of PEARL.

Episodes are truncated after 200 steps. MuJoCo is imported with the first environment:
``pip install pearl-metarl[mujoco]``. Physics differs between MuJoCo versions, so compare returns within one version.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.registry import register

EPISODE_STEPS = 200
GOAL_RADIUS = 3.0

# Rand-params: a factor is the base to the power of a number uniform in [-3, 3].
FACTOR_BASES = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
LOG_SCALE_LIMIT = 3.0

_ENVIRONMENTS = "pearl.tasks.families.mujoco_envs"


class _MujocoFamily(TaskDistribution):
    """Base class of the MuJoCo families; ``gymnasium.make`` builds an environment from a task's parameters."""

    simulators = ("mujoco",)
    _id: ClassVar[str]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of one task, truncated after 200 steps.

        Raises:
            ImportError: MuJoCo is not installed.
        """
        return gym.make(self._id, render_mode=render_mode, **self._arguments(task), **self._settings())

    def change_task(self, env: gym.Env[Any, Any], task: Task) -> bool:
        """Set the task's attributes of a running environment; its robot keeps its pose and velocities."""
        for name, value in self._arguments(task).items():
            setattr(env.unwrapped, name, value)
        return True

    def _arguments(self, task: Task) -> dict[str, Any]:
        """Return the constructor arguments that define ``task``; the environment has attributes of the same names."""
        return task.to_json()

    def _settings(self) -> dict[str, Any]:
        """Return the constructor arguments that all tasks share; none by default."""
        return {}


class CheetahVel(_MujocoFamily):
    """A half cheetah runs at a velocity uniform in [0, 3] metres per second; a task is ``{"velocity": v}``."""

    name = "cheetah-vel"
    _id = "pearl/CheetahVel-v0"

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks."""
        return [Task({"velocity": velocity}) for velocity in rng.uniform(0, 3, n).tolist()]


class _TwoDirections(_MujocoFamily):
    """Families of two tasks, ``{"direction": 1}`` and ``{"direction": -1}``, for training and test alike."""

    same_tasks = True

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Return ``n`` tasks, the two in turn; the generator decides which one comes first."""
        first = int(rng.integers(2))
        return [Task({"direction": 1 if (first + index) % 2 else -1}) for index in range(n)]


class CheetahDir(_TwoDirections):
    """A half cheetah runs forward or backward."""

    name = "cheetah-dir"
    _id = "pearl/CheetahDir-v0"


class _AntFamily(_MujocoFamily):
    """Base class of the ant families.

    Args:
        contact_forces: whether observations include the contact forces, 78 numbers.
    """

    def __init__(self, *, contact_forces: bool = False) -> None:
        self.contact_forces = contact_forces

    def _settings(self) -> dict[str, Any]:
        return {"contact_forces": self.contact_forces}


class AntForwardBackward(_AntFamily, _TwoDirections):
    """An ant runs forward or backward; an episode ends early when it tips over or jumps."""

    name = "ant-forward-backward"
    _id = "pearl/AntDir-v0"

    def _arguments(self, task: Task) -> dict[str, Any]:
        return {"heading": (float(task.params["direction"]), 0.0)}


class AntDir(_AntFamily):
    """An ant runs along ``{"angle": radians}``; an episode ends early when it tips over or jumps."""

    name = "ant-dir"
    _id = "pearl/AntDir-v0"

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks, angles uniform in [0, 2π]; the same generator state gives the same tasks."""
        return _angles(n, rng)

    def _arguments(self, task: Task) -> dict[str, Any]:
        return {"heading": _heading(task)}


class AntGoal(_AntFamily):
    """An ant goes to a goal within 3 metres, ``{"goal": [x, y]}``; it observes its position, and never terminates."""

    name = "ant-goal"
    _id = "pearl/AntGoal-v0"

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks, goals uniform in the disc; the same generator state gives the same tasks."""
        angle, radius = rng.uniform(0, 2 * np.pi, n), GOAL_RADIUS * np.sqrt(rng.random(n))
        goals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return [Task({"goal": goal}) for goal in goals.tolist()]


class HumanoidDir(_MujocoFamily):
    """A humanoid runs in a direction of the circle, ``{"angle": radians}``; an episode ends early when it falls."""

    name = "humanoid-dir"
    _id = "pearl/HumanoidDir-v0"

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks, angles uniform in [0, 2π]; the same generator state gives the same tasks."""
        return _angles(n, rng)

    def _arguments(self, task: Task) -> dict[str, Any]:
        return {"heading": _heading(task)}


class _RandParams(_MujocoFamily):
    """Families whose dynamics differ; a task holds lists of factors on the model's parameters.

    As in the field's rand-param environments, a factor is 1.5^U(-3, 3), for damping 1.3^U(-3, 3).
    """

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        """Draw ``n`` tasks; the same generator state gives the same tasks.

        Raises:
            ImportError: MuJoCo is not installed; its model defines the number of factors.
        """
        counts = _factor_counts(self._id)
        return [_factors(counts, rng) for _ in range(n)]

    def _arguments(self, task: Task) -> dict[str, Any]:
        return {"factors": task.to_json()}


class WalkerRandParams(_RandParams):
    """A walker with other masses, inertias, dampings and frictions; an episode ends early when it falls."""

    name = "walker-rand-params"
    _id = "pearl/WalkerRandParams-v0"


class HopperRandParams(_RandParams):
    """A hopper with other masses, inertias, dampings and frictions; an episode ends early when it falls."""

    name = "hopper-rand-params"
    _id = "pearl/HopperRandParams-v0"


def _angles(n: int, rng: np.random.Generator) -> list[Task]:
    return [Task({"angle": angle}) for angle in rng.uniform(0, 2 * np.pi, n).tolist()]


def _heading(task: Task) -> tuple[float, float]:
    return math.cos(task.params["angle"]), math.sin(task.params["angle"])


def _factors(counts: Mapping[str, int], rng: np.random.Generator) -> Task:
    exponents = {name: rng.uniform(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT, counts[name]) for name in FACTOR_BASES}
    return Task({name: (base ** exponents[name]).tolist() for name, base in FACTOR_BASES.items()})


@functools.cache
def _factor_counts(environment_id: str) -> dict[str, int]:
    env = gym.make(environment_id)
    counts: dict[str, int] = env.get_wrapper_attr("factor_counts")
    env.close()
    return counts


for _name in ("CheetahVel", "CheetahDir", "AntDir", "AntGoal", "HumanoidDir", "WalkerRandParams", "HopperRandParams"):
    gym.register(
        f"pearl/{_name}-v0",
        f"{_ENVIRONMENTS}:{_name}Env",
        max_episode_steps=EPISODE_STEPS,
        # The checker would warn, on stderr, about every environment: the v5 observation spaces have no bounds.
        disable_env_checker=True,
    )

register(CheetahVel.name, CheetahVel, "a half cheetah runs at a velocity in [0, 3] (MuJoCo)")
register(CheetahDir.name, CheetahDir, "a half cheetah runs forward or backward (MuJoCo)")
register(AntForwardBackward.name, AntForwardBackward, "an ant runs forward or backward (MuJoCo)")
register(AntDir.name, AntDir, "an ant runs in a direction of the circle (MuJoCo)")
register(AntGoal.name, AntGoal, "an ant goes to a goal within 3 metres (MuJoCo)")
register(HumanoidDir.name, HumanoidDir, "a humanoid runs in a direction of the circle (MuJoCo)")
register(WalkerRandParams.name, WalkerRandParams, "a walker with other masses, inertias, dampings, frictions (MuJoCo)")
register(HopperRandParams.name, HopperRandParams, "a hopper with other masses, inertias, dampings, frictions (MuJoCo)")
