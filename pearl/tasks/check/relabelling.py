"""Whether a family computes the rewards that its environments give."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pearl.tasks.check.episodes import require
from pearl.tasks.distribution import Task, TaskDistribution

_TOLERANCE = 1e-4


def computes_rewards(
    distribution: TaskDistribution,
    task: Task,
    observation: NDArray[Any],
    action: NDArray[np.float32],
    next_observation: NDArray[Any],
    reward: NDArray[np.float32],
    training_reward: NDArray[np.float32],
) -> bool:
    """Return whether ``relabel`` computes the rewards of transitions; it is compared with the environment's.

    Args:
        distribution: the family.
        task: the task in which the transitions were played.
        observation: (step, observation_dim).
        action: (step, action_dim).
        next_observation: (step, observation_dim).
        reward: the environment's, (step,).
        training_reward: the environment's, (step,).

    Raises:
        TaskDistributionError: it computes other rewards than the environment gave, or of another shape.
    """
    computed = distribution.relabel([task], observation[None], action[None], next_observation[None])
    if computed is None:
        return False
    named = (("reward", computed[0], reward[None]), ("training reward", computed[1], training_reward[None]))
    for name, relabelled, own in named:
        require(
            np.shape(relabelled) == own.shape,
            f"relabel must return each {name} as (task, step), {own.shape}, got {np.shape(relabelled)}.",
        )
        require(
            np.allclose(relabelled, own, rtol=_TOLERANCE, atol=_TOLERANCE),
            f"relabel must reproduce the environment's {name}; for task ({task}) they differ by up to "
            f"{np.abs(relabelled - own).max():.3g}. Return None if it cannot be computed.",
        )
    return True
