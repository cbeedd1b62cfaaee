"""What the tests of the point robots share: both families, a task for a goal, actions row by row."""

import numpy as np

from pearl.tasks.distribution import Task
from pearl.tasks.families.point_robot import PointRobot, SparsePointRobot

FAMILIES = [PointRobot, SparsePointRobot]


def task_at(x, y):
    return Task({"goal": [x, y]})


def actions_of(*rows):
    return np.array(rows, np.float32)
