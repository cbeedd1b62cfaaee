"""Tasks, task distributions and the families that come with the framework."""

from pearl.tasks import classic_control as _classic_control  # noqa: F401  (registers its families)
from pearl.tasks import image_point_robot as _image_point_robot  # noqa: F401  (registers its families)
from pearl.tasks import metaworld as _metaworld  # noqa: F401  (registers its families)
from pearl.tasks import mujoco as _mujoco  # noqa: F401  (registers its families)
from pearl.tasks import point_robot as _point_robot  # noqa: F401  (registers its families)
from pearl.tasks.check import check_task_distribution
from pearl.tasks.check_episodes import TaskDistributionError
from pearl.tasks.check_units import TaskDistributionWarning
from pearl.tasks.distribution import Plane, Task, TaskDistribution, family_name, parse_task
from pearl.tasks.infos import EnvError
from pearl.tasks.limits import own_time_limit, time_limit
from pearl.tasks.mirrored import Mirrored, mirrored
from pearl.tasks.perturbation import Perturbed, perturbed
from pearl.tasks.registry import UnknownFamilyError, families, find, make, register, register_pattern
from pearl.tasks.samplers import Categorical, LogUniform, Sampler, Scale, Uniform
from pearl.tasks.told import Told, told

__all__ = [
    "Categorical",
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
    "Told",
    "Uniform",
    "UnknownFamilyError",
    "check_task_distribution",
    "families",
    "family_name",
    "find",
    "make",
    "mirrored",
    "own_time_limit",
    "parse_task",
    "perturbed",
    "register",
    "register_pattern",
    "time_limit",
    "told",
]
