"""An encoder without inference: the reference for other encoders."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal

from encoders.base import ContextEncoder
from encoders.types import CONTEXT_FIELDS, Context, PooledBelief


class Blind(ContextEncoder[PooledBelief]):
    """z is always zero, so that one policy plays every task: multi-task SAC without a task variable.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: checked as in other encoders, but has no effect.
    """

    stochastic = False
    infers = False
    zero: Tensor

    def __init__(
        self, observation_dim: int, action_dim: int, latent_dim: int, context_fields: Sequence[str] = CONTEXT_FIELDS[:3]
    ) -> None:
        super().__init__(observation_dim, action_dim, latent_dim, context_fields)
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def prior(self, n_tasks: int) -> PooledBelief:  # noqa: D102
        return PooledBelief(self.zero.new_zeros(n_tasks, self.latent_dim), self.zero.new_zeros(n_tasks))

    def update(self, belief: PooledBelief, context: Context) -> PooledBelief:
        """Count the transitions."""
        self.inputs(context)
        return belief._replace(n_seen=belief.n_seen + context.mask.sum(1, dtype=belief.n_seen.dtype))

    def posterior(self, belief: PooledBelief) -> Normal:
        """Return zero mean and zero standard deviation."""
        return Normal(belief.feature_sum, torch.zeros_like(belief.feature_sum), validate_args=False)
