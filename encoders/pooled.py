"""Encoders whose belief is a running sum and count of per-transition features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from encoders.base import ContextEncoder
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, Context, PooledBelief


class PoolingEncoder(ContextEncoder[PooledBelief]):
    """Shared part: features of each transition, summed over the context."""

    features: nn.Module
    feature_dim: int

    def prior(self, n_tasks: int) -> PooledBelief:  # noqa: D102
        parameter = next(self.parameters())
        return PooledBelief(parameter.new_zeros(n_tasks, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: PooledBelief, context: Context) -> PooledBelief:  # noqa: D102
        features = torch.where(context.mask.unsqueeze(-1), self.features(self.inputs(context)), 0.0)
        n_seen = belief.n_seen + context.mask.sum(1, dtype=belief.n_seen.dtype)
        return PooledBelief(belief.feature_sum + features.sum(1), n_seen)

    def pooled_mean(self, belief: PooledBelief) -> Tensor:
        """Return the mean feature, (task, feature_dim); zero for an empty context."""
        return belief.feature_sum / belief.n_seen.clamp(min=1.0).unsqueeze(-1)


class PooledFeatures(PoolingEncoder):
    """Permutation-invariant q(z|c) from pooled features (deep sets, Zaheer et al. 2017, theorem 2).

    A transition alone says little where the task shows only in several of them together (a reward of -0.7 puts the
    goal on a circle): features add up before the head reads mean and stddev, where a product of Gaussians has to
    commit to one Gaussian per transition.

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
        self.head = mlp(feature_dim + 1, head_sizes, 2 * latent_dim)

    def posterior(self, belief: PooledBelief) -> Normal:  # noqa: D102
        amount = torch.log1p(belief.n_seen).unsqueeze(-1)
        mean, raw_stddev = self.head(torch.cat([self.pooled_mean(belief), amount], dim=-1)).chunk(2, dim=-1)
        stddev = functional.softplus(raw_stddev) + self.min_stddev
        seen = (belief.n_seen > 0).unsqueeze(-1)
        return Normal(torch.where(seen, mean, 0.0), torch.where(seen, stddev, 1.0), validate_args=False)


class MeanAggregator(PoolingEncoder):
    """Deterministic z: the mean of per-transition embeddings, with no spread and no KL (PEARL's ablation, section 6.4).

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition the encoder reads.
        hidden_sizes: widths of the embedding network's hidden layers.
    """

    stochastic = False

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        latent_dim: int,
        context_fields: Sequence[str] = CONTEXT_FIELDS[:3],
        *,
        hidden_sizes: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__(observation_dim, action_dim, latent_dim, context_fields)
        self.feature_dim = latent_dim
        self.features = mlp(self.input_dim, hidden_sizes, latent_dim)

    def posterior(self, belief: PooledBelief) -> Normal:
        """Return the mean embedding as a Normal with zero spread; zero for an empty context."""
        mean = self.pooled_mean(belief)
        return Normal(mean, torch.zeros_like(mean), validate_args=False)
