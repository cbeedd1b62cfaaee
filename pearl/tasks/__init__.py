"""Tasks, task distributions and the families that come with the framework."""

from pearl.tasks import point_robot as _point_robot  # noqa: F401  (registers its families)
from pearl.tasks.distribution import Plane, Task, TaskDistribution, family_name, parse_task
from pearl.tasks.registry import UnknownFamilyError, families, find, make, register

__all__ = [
    "Plane",
    "Task",
    "TaskDistribution",
    "UnknownFamilyError",
    "families",
    "family_name",
    "find",
    "make",
    "parse_task",
    "register",
]
