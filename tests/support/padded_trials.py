"""Trials with padding, of which learning must see nothing."""

import torch
from torch import Tensor

from agents import Transitions, Trials


def longer(values: Tensor, *, padding: float = 3.0) -> Tensor:
    """Values (task, step, …) with three more steps."""
    return torch.cat([values, torch.full_like(values[:, :3], padding)], dim=1)


def padded_trials(trials: Trials) -> Trials:
    """The trials with three more steps of padding, whose actions are those of the first three."""
    transitions = Transitions(*(longer(field) for field in trials.transitions))
    action = trials.transitions.action
    return Trials(
        transitions._replace(action=torch.cat([action, action[:, :3]], dim=1)),
        longer(trials.training_reward),
        longer(trials.ended),
        longer(trials.mask, padding=False),
        {name: longer(extra) for name, extra in trials.extras.items()},
    )
