"""Encoder whose belief is a running maximum of per-transition features."""

from collections.abc import Sequence

import torch
from torch.distributions import Normal
from torch.nn import functional

from encoders.base import ContextEncoder
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, Context, MaxPooledBelief


class MaxPooledFeatures(ContextEncoder[MaxPooledBelief]):
    """Permutation-invariant q(z|c) from features pooled by their maximum (Qi et al. 2017, PointNet, theorem 1).

    Seeing the same thing twice changes nothing: a hundred transitions without reward do not add up to a certainty, and
    the one that was rewarded is not averaged away among them. Fits tasks whose rewards are sparse.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition the encoder reads.
        hidden_sizes: widths of the feature network's hidden layers.
        feature_dim: width of the pooled features.
        head_sizes: widths of the head's hidden layers.
        min_stddev: floor of the posterior's standard deviation.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        latent_dim: int,
        context_fields: Sequence[str] = CONTEXT_FIELDS[:3],
        *,
        hidden_sizes: Sequence[int] = (128, 128),
        feature_dim: int = 128,
        head_sizes: Sequence[int] = (128,),
        min_stddev: float = 1e-3,
    ) -> None:
        super().__init__(observation_dim, action_dim, latent_dim, context_fields)
        self.feature_dim = feature_dim
        self.min_stddev = min_stddev
        self.features = mlp(self.input_dim, hidden_sizes, feature_dim)
        self.head = mlp(feature_dim, head_sizes, 2 * latent_dim)

    def prior(self, n_tasks: int) -> MaxPooledBelief:  # noqa: D102
        parameter = next(self.parameters())
        return MaxPooledBelief(parameter.new_zeros(n_tasks, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: MaxPooledBelief, context: Context) -> MaxPooledBelief:  # noqa: D102
        features = functional.relu(self.features(self.inputs(context)))
        features = torch.where(context.mask.unsqueeze(-1), features, 0.0)
        stacked = torch.cat([belief.feature_max.unsqueeze(1), features], dim=1)
        return MaxPooledBelief(stacked.amax(1), belief.n_seen + context.mask.sum(1, dtype=belief.n_seen.dtype))

    def posterior(self, belief: MaxPooledBelief) -> Normal:  # noqa: D102
        mean, raw_stddev = self.head(belief.feature_max).chunk(2, dim=-1)
        stddev = functional.softplus(raw_stddev + 0.5) + self.min_stddev
        seen = (belief.n_seen > 0).unsqueeze(-1)
        return Normal(torch.where(seen, mean, 0.0), torch.where(seen, stddev, 1.0), validate_args=False)
