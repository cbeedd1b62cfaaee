"""PEARL's memory."""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.context.draws import StratifiedDraws
from encoders import Belief, Context

MAX_UNREAD = 256
"""Maximum number of unread transitions per task, which bounds the memory's size"""


class PEARLMemory(NamedTuple):
    """The belief over each task, the current z, and transitions not yet folded into the belief."""

    belief: Belief
    """The encoder's belief given the trial's transitions except the unread ones"""
    unread: tuple[Context, ...]
    """The newest transitions, one ``Context`` without the step dimension each; folded when the posterior is needed"""
    z: Tensor
    """(task, latent_dim), the last posterior sample, on which the policy is conditioned"""
    z_mean: Tensor
    """(task, latent_dim), the posterior mean when z was drawn"""
    draws: StratifiedDraws
    """The noise of the trial's posterior samples"""
    steps: Tensor
    """(task,) int64, steps since the episode's start, without the unread ones"""


def as_context(steps: tuple[Context, ...]) -> Context:
    """Stack contexts without a step dimension into one context, (task, step, …)."""
    return Context(*(torch.stack(field, dim=1) for field in zip(*steps, strict=True)))


def halves(context: Context) -> tuple[Context, Context]:
    """Return a context (task, step, …) with the even steps alone, and one with the odd steps alone."""
    even = torch.arange(context.mask.shape[1], device=context.mask.device) % 2 == 0
    return context._replace(mask=context.mask & even), context._replace(mask=context.mask & ~even)
