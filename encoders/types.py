"""Inputs and outputs of encoders: contexts and beliefs."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from encoders.kernels.static_shapes import shapes_are_static

CONTEXT_FIELDS = ("observation", "action", "reward", "next_observation")
"""The parts of a transition that an encoder may read."""


class Context(NamedTuple):
    """Transitions of several tasks, padded to one length."""

    observation: Tensor
    """(task, step, observation_dim)"""
    action: Tensor
    """(task, step, action_dim)"""
    reward: Tensor
    """(task, step), the true reward"""
    next_observation: Tensor
    """(task, step, observation_dim)"""
    mask: Tensor
    """(task, step) bool; False marks padding, whose values have no effect"""


class GaussianBelief(NamedTuple):
    """Natural parameters of a product of Gaussians."""

    precision: Tensor
    """(task, latent_dim) for diagonal factors, else (task, latent_dim, latent_dim)"""
    weighted_mean: Tensor
    """(task, latent_dim), precision times mean"""
    n_seen: Tensor
    """(task,), transitions seen so far"""


def weigh_evidence(belief: GaussianBelief, prior: GaussianBelief, weight: Tensor) -> GaussianBelief:
    """Return a belief with each task's evidence scaled by its ``weight`` (task,); the prior keeps its weight."""
    of_precision = weight.view(-1, *[1] * (belief.precision.dim() - 1))
    # In this form, a weight of 1 causes no rounding.
    precision = torch.lerp(prior.precision, belief.precision, of_precision)
    return GaussianBelief(precision, belief.weighted_mean * weight.unsqueeze(-1), belief.n_seen)


def forget_evidence(belief: GaussianBelief, prior: GaussianBelief, share: Tensor) -> GaussianBelief:
    """Return a belief with a ``share`` (task,) of its evidence, which then counts as that many transitions fewer."""
    share = share.to(belief.precision.dtype)
    return weigh_evidence(belief, prior, share)._replace(n_seen=belief.n_seen * share)


class PooledBelief(NamedTuple):
    """Running sum and count of per-transition features."""

    feature_sum: Tensor
    """(task, feature_dim)"""
    n_seen: Tensor
    """(task,), transitions seen so far"""


class MaxPooledBelief(NamedTuple):
    """Running maximum of per-transition features."""

    feature_max: Tensor
    """(task, feature_dim), not negative"""
    n_seen: Tensor
    """(task,), transitions seen so far"""


Belief = tuple[Tensor, ...]
"""A NamedTuple of tensors whose first dimension is the task. An explicit value, never module state."""
BeliefT = TypeVar("BeliefT", bound=Belief)
"""An encoder's own kind of belief"""


def where_present(function: Callable[[Tensor], Tensor], rows: Tensor, mask: Tensor) -> Tensor:
    """Apply a function of single rows where ``mask`` (task, step) is True; padding is skipped and gives zeros.

    Contexts of random length are mostly padding, so that skipping it is several times as fast. Within
    ``static_shapes`` the amount of padding must not be read, and padding is computed too, from zeros.

    Args:
        function: maps (row, width) to (row, new width).
        rows: (task, step, width).
        mask: (task, step) bool.

    Returns:
        (task, step, new width).
    """
    if shapes_are_static():
        absent = ~mask.unsqueeze(-1)
        computed: Tensor = function(rows.masked_fill(absent, 0).flatten(0, 1)).unflatten(0, mask.shape)
        return computed.masked_fill(absent, 0.0)
    flat = rows.flatten(0, 1)
    if mask.all():
        every: Tensor = function(flat).unflatten(0, mask.shape)
        return every
    present = mask.flatten().nonzero().squeeze(1)
    found = function(flat.index_select(0, present))
    padded: Tensor = found.new_zeros(len(flat), found.shape[-1]).index_copy(0, present, found).unflatten(0, mask.shape)
    return padded


def check_context(context: Context, observation_dim: int, action_dim: int) -> None:
    """Check a context's shapes.

    Raises:
        ValueError: a field has another shape; the message names the field, the shape expected and the shape found.
    """
    if context.mask.dim() != 2 or context.mask.dtype != torch.bool:
        raise ValueError(
            f"Context.mask must be a bool tensor of shape (task, step), "
            f"got {context.mask.dtype} of shape {tuple(context.mask.shape)}."
        )
    tasks, steps = context.mask.shape
    wanted = (
        (tasks, steps, observation_dim),
        (tasks, steps, action_dim),
        (tasks, steps),
        (tasks, steps, observation_dim),
    )
    for field, found, shape in zip(CONTEXT_FIELDS, context, wanted, strict=False):
        if found.shape != shape:
            raise ValueError(f"Context.{field} must have the shape {shape}, got {tuple(found.shape)}.")
