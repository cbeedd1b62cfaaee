"""Trials as agents read them."""

import torch

from agents import Transitions, Trials
from pearl.collection.rollout import Trajectories


def as_trials(trajectories: Trajectories) -> Trials:
    """Convert trajectories to ``Trials``."""
    fields = {name: torch.from_numpy(getattr(trajectories, name)) for name in Transitions._fields}
    return Trials(
        transitions=Transitions(**fields | {"terminated": fields["terminated"].float()}),
        training_reward=torch.from_numpy(trajectories.training_reward),
        ended=torch.from_numpy(trajectories.terminated | trajectories.truncated),
        mask=torch.from_numpy(trajectories.mask),
        extras={name: torch.from_numpy(values) for name, values in trajectories.extras.items()},
    )
