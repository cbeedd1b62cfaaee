"""The encoder interface: q(z | c) over explicit beliefs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from encoders.types import CONTEXT_FIELDS, BeliefT, Context, check_context, where_present


class ContextEncoder(nn.Module, ABC, Generic[BeliefT]):
    """Amortised inference of the task variable z from context (Rakelly et al. 2019, section 4.1).

    An encoder is stateless: its knowledge of a task is the belief, which the caller holds. Encoding a whole context
    equals folding ``update`` over its transitions.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads, from ``CONTEXT_FIELDS``.

    Raises:
        ValueError: ``context_fields`` is empty, repeats a field, or names an unknown one.
    """

    stochastic = True
    """Whether the posterior has a standard deviation; a deterministic encoder has none, and no KL to the prior."""
    infers = True
    """Whether the posterior depends on the context"""
    evidence_limit: float = math.inf
    """Maximum evidence in a posterior, in transitions. In a longer trial, each transition has a smaller weight, so that
    together they weigh as much as this many. The networks thus never read a narrower posterior than in training."""

    def __init__(
        self, observation_dim: int, action_dim: int, latent_dim: int, context_fields: Sequence[str] = CONTEXT_FIELDS[:3]
    ) -> None:
        super().__init__()
        unknown = [field for field in context_fields if field not in CONTEXT_FIELDS]
        if unknown or not context_fields or len(set(context_fields)) != len(context_fields):
            raise ValueError(
                f"context_fields must be one or more different fields of {CONTEXT_FIELDS}, got {tuple(context_fields)}."
            )
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self.latent_dim = latent_dim
        self.context_fields = tuple(context_fields)

    @property
    def input_dim(self) -> int:
        """Width of one transition as the encoder reads it."""
        width = {
            "observation": self.observation_dim,
            "action": self.action_dim,
            "reward": 1,
            "next_observation": self.observation_dim,
        }
        return sum(width[field] for field in self.context_fields)

    def inputs(self, context: Context) -> Tensor:
        """Join the context's fields into (task, step, input_dim); masked steps are zero.

        Raises:
            ValueError: a field has the wrong shape.
        """
        check_context(context, self.observation_dim, self.action_dim)
        values = context._replace(reward=context.reward.unsqueeze(-1))
        joined = torch.cat([getattr(values, field) for field in self.context_fields], dim=-1)
        return torch.where(context.mask.unsqueeze(-1), joined, 0.0)

    def read_each(self, network: Callable[[Tensor], Tensor], context: Context) -> Tensor:
        """Apply ``network`` to each transition, (task, step, width); zero for masked steps.

        Raises:
            ValueError: a field has the wrong shape.
        """
        return where_present(network, self.inputs(context), context.mask)

    @abstractmethod
    def prior(self, n_tasks: int) -> BeliefT:
        """Return the belief before any transition; its posterior is the prior N(0, I)."""

    @abstractmethod
    def update(self, belief: BeliefT, context: Context) -> BeliefT:
        """Fold transitions into the belief at a cost of O(new transitions), however long the trial.

        Args:
            belief: one row per task.
            context: new transitions, (task, step, ...); masked steps contribute nothing.

        Raises:
            ValueError: a field of the context has the wrong shape.
        """

    @abstractmethod
    def posterior(self, belief: BeliefT) -> Normal:
        """Read q(z | c) from a belief: a diagonal Normal, mean and stddev each (task, latent_dim)."""

    def forget(self, belief: BeliefT, share: Tensor) -> BeliefT:
        """Return a belief with a share of its evidence, as if each transition counted that much; the prior stays.

        Args:
            belief: one row per task.
            share: (task,), from 0, which gives the prior, to 1, which changes nothing.

        Raises:
            TypeError: the belief is not a sum over transitions.
        """
        raise TypeError(
            f"{type(self).__name__} cannot forget evidence: its belief is not a sum over transitions. Train with "
            "encoder.kind linear_gaussian, product_of_gaussians, pooled_features or mean."
        )

    def evidence_weight(self, n_seen: Tensor) -> Tensor:
        """Return the weight of each task's transitions in its posterior, (task,): 1 for up to ``evidence_limit``.

        Args:
            n_seen: (task,), number of transitions in each belief.
        """
        return (self.evidence_limit / n_seen).clamp(max=1.0)

    def encode(self, context: Context) -> BeliefT:
        """Return the belief after a whole context, starting from the prior."""
        return self.update(self.prior(context.mask.shape[0]), context)
