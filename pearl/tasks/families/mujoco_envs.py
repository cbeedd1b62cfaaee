"""MuJoCo environments of `pearl.tasks.families.mujoco`, on Gymnasium's v5 models; importing it needs MuJoCo.

Dynamics, observations and starts are those of the v5 models. A velocity is the change of a position over a step divided
by the step's duration, as in their ``info``. The reward is the sum of the ``reward_...`` terms in ``info``.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

try:
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv
    from gymnasium.envs.mujoco.ant_v5 import AntEnv
    from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
    from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
    from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
    from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv
except (ImportError, DependencyNotInstalled) as error:
    raise ImportError(
        f"The MuJoCo families need MuJoCo, which cannot be imported ({error}): pip install pearl-metarl[mujoco]"
    ) from error

SCALED_PARAMETERS = ("body_mass", "body_inertia", "dof_damping", "geom_friction")

Step = tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]

_logger = logging.getLogger(__name__)


class _Rewarded(MujocoEnv):
    """Mixin that replaces terms of a v5 environment's reward; it precedes that environment among the bases."""

    def step(self, action: NDArray[np.float32]) -> Step:
        """Apply an action, (action_dim,)."""
        observation, _, terminated, truncated, info = super().step(action)
        terms: dict[str, Any] = {**info, **self._reward_terms(info)}
        reward = np.float64(sum(value for name, value in terms.items() if name.startswith("reward_")))
        return observation, reward, terminated, truncated, terms

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Do as the v5 environment, with a copy of the parsed model: parsing the XML takes longer than all the rest."""
        model = copy(_parsed(self.fullpath, os.stat(self.fullpath).st_mtime_ns))
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        """Return the ``reward_...`` terms that differ from the v5 environment's; none by default."""
        return {}


class CheetahVelEnv(_Rewarded, HalfCheetahEnv):
    """HalfCheetah-v5 rewarded with -|v - velocity| - 0.05 |action|²; it never terminates.

    Args:
        velocity: forward velocity to run at, in metres per second.
        kwargs: for HalfCheetah-v5.
    """

    def __init__(self, velocity: float = 1.0, **kwargs: Any) -> None:
        super().__init__(ctrl_cost_weight=0.05, **kwargs)
        EzPickle.__init__(self, velocity, **kwargs)
        self.velocity = velocity

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        return {"reward_forward": -abs(info["x_velocity"] - self.velocity)}


class CheetahDirEnv(_Rewarded, HalfCheetahEnv):
    """HalfCheetah-v5 rewarded with direction · v - 0.05 |action|²; it never terminates.

    Args:
        direction: 1 for forward, -1 for backward.
        kwargs: for HalfCheetah-v5.
    """

    def __init__(self, direction: float = 1, **kwargs: Any) -> None:
        super().__init__(ctrl_cost_weight=0.05, **kwargs)
        EzPickle.__init__(self, direction, **kwargs)
        self.direction = direction

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        return {"reward_forward": self.direction * info["x_velocity"]}


class AntDirEnv(_Rewarded, AntEnv):
    """Ant-v5 rewarded with v · heading - 0.5 |action|² - 0.0005 |contact forces, clipped to ±1|² + 1.

    It terminates when the torso's height leaves [0.2, 1], or a state is not finite, as in the reference
    implementation of PEARL.

    Args:
        heading: (x, y) of length 1.
        contact_forces: whether the observation includes the contact forces: 105 numbers, 27 without.
        kwargs: for Ant-v5.
    """

    def __init__(
        self, heading: tuple[float, float] = (1.0, 0.0), *, contact_forces: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(include_cfrc_ext_in_observation=contact_forces, **kwargs)
        EzPickle.__init__(self, heading, contact_forces=contact_forces, **kwargs)
        self.heading = heading

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        return {"reward_forward": _along(self.heading, info), "reward_survive": 1.0}


class AntGoalEnv(_Rewarded, AntEnv):
    """Ant-v5 rewarded with -|position - goal|₁ - 0.1 |action|² - 0.0005 |contact forces, clipped to ±1|².

    The position is the torso's after the step. The observation begins with it, as in the reference implementation of
    PEARL: without it, no policy could infer the distance to the goal. Episodes never terminate.

    Args:
        goal: (x, y).
        contact_forces: whether the observation includes the contact forces: 107 numbers, 29 without.
        kwargs: for Ant-v5.
    """

    def __init__(self, goal: Sequence[float] = (1.0, 0.0), *, contact_forces: bool = False, **kwargs: Any) -> None:
        super().__init__(
            ctrl_cost_weight=0.1,
            terminate_when_unhealthy=False,
            exclude_current_positions_from_observation=False,
            include_cfrc_ext_in_observation=contact_forces,
            **kwargs,
        )
        EzPickle.__init__(self, goal, contact_forces=contact_forces, **kwargs)
        self.goal = goal

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        distance = abs(info["x_position"] - self.goal[0]) + abs(info["y_position"] - self.goal[1])
        return {"reward_forward": -distance, "reward_survive": 0.0}


class HumanoidDirEnv(_Rewarded, HumanoidEnv):
    """Humanoid-v5 rewarded with 1.25 v · heading - 0.1 |action|² - min(5e-7 |contact forces|², 10) + 5.

    v is the centre of mass's velocity. It terminates when the torso's height leaves (1, 2), as in the reference
    implementation of PEARL.

    Args:
        heading: (x, y) of length 1.
        kwargs: for Humanoid-v5.
    """

    def __init__(self, heading: tuple[float, float] = (1.0, 0.0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, heading, **kwargs)
        self.heading = heading

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        return {"reward_forward": 1.25 * _along(self.heading, info), "reward_survive": 5.0}


class _RandParams(_Rewarded, EzPickle):
    """Mixin: a v5 environment with scaled parameters and a reward of 1 for each step alive.

    Args:
        factors: factors on the model's parameters, see `scale_parameters`; unscaled if None.
        kwargs: for the v5 environment.
    """

    def __init__(self, factors: Mapping[str, Sequence[float]] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, factors, **kwargs)
        self._unscaled = {name: getattr(self.model, name).copy() for name in SCALED_PARAMETERS}
        self._factors = factors
        self.factor_counts = scale_parameters(self.model, self.data, factors)

    @property
    def factors(self) -> Mapping[str, Sequence[float]] | None:
        """Factors on the original model's parameters; setting others leaves pose and velocities as they are."""
        return self._factors

    @factors.setter
    def factors(self, factors: Mapping[str, Sequence[float]] | None) -> None:
        for name, values in self._unscaled.items():
            getattr(self.model, name)[:] = values
        # Other data than the robot's own: the constants are computed at the initial pose.
        scale_parameters(self.model, mujoco.MjData(self.model), factors)
        self._factors = factors

    def _reward_terms(self, info: Mapping[str, Any]) -> dict[str, float]:
        return {"reward_survive": 1.0}


class WalkerRandParamsEnv(_RandParams, Walker2dEnv):
    """Walker2d-v5 with scaled parameters, rewarded with v - 0.001 |action|² + 1.

    It terminates when the torso's height leaves (0.8, 2) or its angle (-1, 1), as in the field's environment.
    """


class HopperRandParamsEnv(_RandParams, HopperEnv):
    """Hopper-v5 with scaled parameters, rewarded with v - 0.001 |action|² + 1.

    It terminates when the torso's height falls to 0.7, its angle leaves (-0.2, 0.2) or a state exceeds 100, as in the
    field's environment.
    """


def scale_parameters(model: Any, data: Any, factors: Mapping[str, Sequence[float]] | None) -> dict[str, int]:
    """Multiply a model's parameters by factors, and recompute the constants that MuJoCo derives from them.

    Each nonzero number of a parameter has one factor, in the model's order: ``body_mass`` has one per body,
    ``body_inertia`` three per body, ``dof_damping`` one per damped degree of freedom, ``geom_friction`` three per geom.

    Args:
        model: mujoco.MjModel, changed in place; a reset does not undo the change.
        data: mujoco.MjData of the model, reset to its initial state.
        factors: factors by parameter; None changes nothing.

    Returns:
        Number of factors by parameter.

    Raises:
        ValueError: a parameter is missing or unknown, its number of factors is wrong, or a factor is not positive.
    """
    counts = {name: int(np.count_nonzero(getattr(model, name))) for name in SCALED_PARAMETERS}
    if factors is None:
        return counts
    if set(factors) != set(counts):
        raise ValueError(f"There must be factors for {', '.join(counts)}, got them for {', '.join(factors) or 'none'}.")
    for name, count in counts.items():
        scale = np.asarray(factors[name], np.float64)
        if scale.shape != (count,) or not (np.isfinite(scale) & (scale > 0)).all():
            raise ValueError(f"{name} takes {count} positive factors, got {factors[name]!r}.")
        values = getattr(model, name)
        values[values != 0] *= scale
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)
    return counts


@cache
def _parsed(path: str, modified: int) -> mujoco.MjModel:
    """Return the model in an XML file that was last modified at ``modified``, in nanoseconds."""
    return mujoco.MjModel.from_xml_path(path)


def _along(heading: tuple[float, float], info: Mapping[str, Any]) -> float:
    return float(heading[0] * info["x_velocity"] + heading[1] * info["y_velocity"])


def _log_warning(message: str) -> None:
    _logger.warning("MuJoCo: %s", message)


# MuJoCo's own handler writes to MUJOCO_LOG.TXT in whatever directory the process runs in.
if mujoco.get_mju_user_warning() is None:
    mujoco.set_mju_user_warning(_log_warning)
