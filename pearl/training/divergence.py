"""Divergence of learning: the error, and advice from the magnitudes of observations and rewards."""

import numpy as np

from pearl.collection.rollout import Trajectories
from pearl.tasks.check.units import FAR


class DivergedError(RuntimeError):
    """A loss became NaN or infinite."""


def remedy(trajectories: Trajectories, reward_scale: float | None, *, normalised: bool) -> str:
    """Return advice after divergence: rescale observations or rewards, else lower the learning rate.

    Args:
        trajectories: the latest trajectories.
        reward_scale: ``agent.reward_scale``; None for running units.
        normalised: whether the agent normalises observations.
    """
    observation, reward, training_reward = (
        float(np.abs(values[trajectories.mask]).max(initial=0))
        for values in (trajectories.observation, trajectories.reward, trajectories.training_reward)
    )
    found = []
    if observation > FAR and not normalised:
        found.append(
            f"Observations reach {observation:.3g}: set agent.observations.normalise to true, or scale them to about "
            "one in make_env."
        )
    largest = max(reward, training_reward)
    if reward_scale is not None and largest > FAR:  # Running units learn rewards of any size.
        found.append(f"Rewards reach {largest:.3g}: scale them to about one in make_env.")
    elif reward_scale is not None and reward_scale * training_reward > FAR:
        found.append(
            f"Rewards times agent.reward_scale reach {reward_scale * training_reward:.3g}: lower agent.reward_scale."
        )
    return f"{' '.join(found)} Then start anew." if found else "Lower agent.learning_rate and start anew."
