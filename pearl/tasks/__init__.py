"""Tasks, task distributions and the families that come with the framework."""

from pearl.tasks import point_robot as _point_robot  # noqa: F401  (registers its families)
from pearl.tasks.distribution import Plane, Task, TaskDistribution, parse_task
from pearl.tasks.registry import UnknownFamilyError, families, make, register

__all__ = ["Plane", "Task", "TaskDistribution", "UnknownFamilyError", "families", "make", "parse_task", "register"]
