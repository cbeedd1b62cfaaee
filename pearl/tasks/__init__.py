"""Tasks, task distributions and the families that come with the framework."""

from pearl.tasks.check.distribution import check_task_distribution
from pearl.tasks.check.episodes import TaskDistributionError
from pearl.tasks.check.units import TaskDistributionWarning
from pearl.tasks.distribution import Plane, Task, TaskDistribution, family_name, parse_task
from pearl.tasks.families import classic_control as _classic_control  # noqa: F401  (registers its families)
from pearl.tasks.families import drifting as _drifting  # noqa: F401  (registers its families)
from pearl.tasks.families import image_point_robot as _image_point_robot  # noqa: F401  (registers its families)
from pearl.tasks.families import metaworld as _metaworld  # noqa: F401  (registers its families)
from pearl.tasks.families import mujoco as _mujoco  # noqa: F401  (registers its families)
from pearl.tasks.families import point_robot as _point_robot  # noqa: F401  (registers its families)
from pearl.tasks.infos import EnvError
from pearl.tasks.limits import own_time_limit, time_limit
from pearl.tasks.registry import UnknownFamilyError, find, make, register, register_pattern
from pearl.tasks.samplers import Categorical, LogUniform, Sampler, Scale, Uniform
from pearl.tasks.transforms.drift import DriftSchedule
from pearl.tasks.transforms.drifting import Drifting, drifting
from pearl.tasks.transforms.mirrored import Mirrored, mirrored
from pearl.tasks.transforms.perturbation import Perturbed, perturbed
from pearl.tasks.transforms.task_observed import TaskObserved, task_observed

__all__ = [
    "Categorical",
    "DriftSchedule",
    "Drifting",
    "EnvError",
    "LogUniform",
    "Mirrored",
    "Perturbed",
    "Plane",
    "Sampler",
    "Scale",
    "Task",
    "TaskDistribution",
    "TaskDistributionError",
    "TaskDistributionWarning",
    "TaskObserved",
    "Uniform",
    "UnknownFamilyError",
    "check_task_distribution",
    "drifting",
    "family_name",
    "find",
    "make",
    "mirrored",
    "own_time_limit",
    "parse_task",
    "perturbed",
    "register",
    "register_pattern",
    "task_observed",
    "time_limit",
]
