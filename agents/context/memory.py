"""PEARL's memory of the tasks that it is acting in."""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.context.draws import StratifiedDraws
from encoders import Belief, Context

MAX_UNREAD = 256
"""Most unread transitions per task, so that memory stays flat"""


class PEARLMemory(NamedTuple):
    """The belief over each task, the z that is being played, and transitions not yet folded into the belief."""

    belief: Belief
    """The encoder's belief over everything seen in the trial, but for what is unread"""
    unread: tuple[Context, ...]
    """The newest transitions, each a step without that dimension: read together when somebody asks for the posterior"""
    z: Tensor
    """(task, latent_dim), the last posterior sample, which the task is played with"""
    z_mean: Tensor
    """(task, latent_dim), the posterior mean when z was drawn"""
    draws: StratifiedDraws
    """The noise that the trial's samples are made of"""
    steps: Tensor
    """(task,) int64, steps since the episode's start, less the unread ones"""


def as_context(steps: tuple[Context, ...]) -> Context:
    """Return steps without that dimension as one context."""
    return Context(*(torch.stack(field, dim=1) for field in zip(*steps, strict=True)))
