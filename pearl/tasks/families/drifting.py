"""Families whose task changes within an episode, made of the other families with `drifting`."""

from pearl.tasks.families.classic_control import varying_cartpole, varying_pendulum
from pearl.tasks.families.mujoco import CheetahDir, CheetahVel, WalkerRandParams
from pearl.tasks.families.point_robot import PointRobot
from pearl.tasks.registry import register
from pearl.tasks.transforms.drift import DriftSchedule
from pearl.tasks.transforms.drifting import Drifting, drifting
from pearl.tasks.transforms.mirrored import mirrored

_WITHIN_200 = DriftSchedule((60, 140))


def drifting_point_robot() -> Drifting:
    """A point robot whose goal moves and whose controls reverse: reward and dynamics change, once in steps 6 to 12."""
    return drifting(mirrored(PointRobot()), DriftSchedule((6, 12)))


def drifting_cartpole() -> Drifting:
    """CartPole whose pole is replaced, and left and right swapped, once in steps 150 to 350 of 500."""
    return drifting(varying_cartpole(), DriftSchedule((150, 350)))


def drifting_pendulum() -> Drifting:
    """Pendulum whose physics change, and whose torque changes its sign, once in steps 60 to 140 of 200."""
    return drifting(varying_pendulum(), _WITHIN_200)


def drifting_cheetah_vel() -> Drifting:
    """A half cheetah whose wanted velocity changes once in steps 60 to 140 of 200."""
    return drifting(CheetahVel(), _WITHIN_200)


def drifting_cheetah_dir() -> Drifting:
    """A half cheetah whose wanted direction reverses once in steps 60 to 140 of 200."""
    return drifting(CheetahDir(), _WITHIN_200)


def drifting_walker() -> Drifting:
    """A walker whose masses, inertias, dampings and frictions change slowly, over the first 100 to 180 of 200 steps."""
    return drifting(WalkerRandParams(), DriftSchedule((100, 180), gradual=True))


register(
    "drifting-mirrored-point-robot",
    drifting_point_robot,
    "the point robot; within an episode its goal moves and its controls reverse",
)
register("drifting-varying-cartpole", drifting_cartpole, "varying-cartpole; the task changes within an episode")
register("drifting-varying-pendulum", drifting_pendulum, "varying-pendulum; the task changes within an episode")
register("drifting-cheetah-vel", drifting_cheetah_vel, "cheetah-vel; the velocity changes within an episode (MuJoCo)")
register("drifting-cheetah-dir", drifting_cheetah_dir, "cheetah-dir; the direction reverses within an episode (MuJoCo)")
register(
    "drifting-walker-rand-params",
    drifting_walker,
    "walker-rand-params; masses and the like change slowly within an episode (MuJoCo)",
)
