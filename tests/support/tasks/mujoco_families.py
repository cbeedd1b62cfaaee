"""What the tests of the MuJoCo families share: their spaces, those whose parameters differ, and a few tasks of each."""

import numpy as np
import pytest

from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.families.mujoco import (
    AntDir,
    AntForwardBackward,
    AntGoal,
    CheetahDir,
    CheetahVel,
    HopperRandParams,
    HumanoidDir,
    WalkerRandParams,
)

SPACES = {
    CheetahVel: (17, 6),
    CheetahDir: (17, 6),
    AntForwardBackward: (27, 8),
    AntDir: (27, 8),
    AntGoal: (29, 8),
    HumanoidDir: (348, 17),
    WalkerRandParams: (17, 6),
    HopperRandParams: (11, 3),
}
RAND_PARAMS = [WalkerRandParams, HopperRandParams]
every_family = pytest.mark.parametrize("family", list(SPACES), ids=lambda family: family.name)


def tasks_of(family: type[TaskDistribution], n: int = 3, seed: int = 0) -> list[Task]:
    return list(family().sample(n, np.random.default_rng(seed)))
