"""Encoders that embed each transition into features and pool them by mean or maximum."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from encoders.base import ContextEncoder
from encoders.feature_encoder import FeatureEncoder
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, Context, MaxPooledBelief, PooledBelief


class PooledFeatures(FeatureEncoder[PooledBelief]):
    """Permutation-invariant q(z|c) from the mean of features (deep sets, Zaheer et al. 2017, theorem 2).

    In some tasks only several transitions together are informative. Here the features of all transitions are averaged
    before the head reads mean and stddev; a product of Gaussians needs one Gaussian per transition.
    """

    reads_amount = True

    def prior(self, n_tasks: int) -> PooledBelief:  # noqa: D102
        parameter = next(self.parameters())
        return PooledBelief(parameter.new_zeros(n_tasks, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: PooledBelief, context: Context) -> PooledBelief:  # noqa: D102
        return add_features(belief, self.read_each(self.features, context), context.mask)

    def forget(self, belief: PooledBelief, share: Tensor) -> PooledBelief:  # noqa: D102
        return forget_features(belief, share)

    def posterior(self, belief: PooledBelief) -> Normal:  # noqa: D102
        amount = torch.log1p(belief.n_seen.clamp(max=self.evidence_limit)).unsqueeze(-1)
        return self.read(torch.cat([mean_feature(belief), amount], dim=-1), belief.n_seen)


class MaxPooledFeatures(FeatureEncoder[MaxPooledBelief]):
    """Permutation-invariant q(z|c) from the maximum of features (PointNet, Qi et al. 2017, theorem 1).

    Repeated transitions have no effect: a hundred transitions without reward do not add up to certainty, and averaging
    does not hide the one rewarded transition. Suits tasks with sparse rewards.
    """

    def prior(self, n_tasks: int) -> MaxPooledBelief:  # noqa: D102
        parameter = next(self.parameters())
        return MaxPooledBelief(parameter.new_zeros(n_tasks, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: MaxPooledBelief, context: Context) -> MaxPooledBelief:  # noqa: D102
        features = functional.relu(self.read_each(self.features, context))
        stacked = torch.cat([belief.feature_max.unsqueeze(1), features], dim=1)
        return MaxPooledBelief(stacked.amax(1), belief.n_seen + context.mask.sum(1, dtype=belief.n_seen.dtype))

    def posterior(self, belief: MaxPooledBelief) -> Normal:  # noqa: D102
        return self.read(belief.feature_max, belief.n_seen)


class MeanAggregator(ContextEncoder[PooledBelief]):
    """Deterministic z: the mean of per-transition embeddings, with no spread and no KL (PEARL's ablation, section 6.4).

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
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
        self.features = mlp(self.input_dim, hidden_sizes, latent_dim)

    def prior(self, n_tasks: int) -> PooledBelief:  # noqa: D102
        parameter = next(self.parameters())
        return PooledBelief(parameter.new_zeros(n_tasks, self.latent_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: PooledBelief, context: Context) -> PooledBelief:  # noqa: D102
        return add_features(belief, self.read_each(self.features, context), context.mask)

    def forget(self, belief: PooledBelief, share: Tensor) -> PooledBelief:  # noqa: D102
        return forget_features(belief, share)

    def posterior(self, belief: PooledBelief) -> Normal:
        """Return the mean embedding as a Normal with zero standard deviation; zero for an empty context."""
        mean = mean_feature(belief)
        return Normal(mean, torch.zeros_like(mean), validate_args=False)


def add_features(belief: PooledBelief, features: Tensor, mask: Tensor) -> PooledBelief:
    """Add features (task, step, feature_dim), zero where ``mask`` (task, step) is False, to a running sum."""
    return PooledBelief(belief.feature_sum + features.sum(1), belief.n_seen + mask.sum(1, dtype=belief.n_seen.dtype))


def forget_features(belief: PooledBelief, share: Tensor) -> PooledBelief:
    """Return a belief with a ``share`` (task,) of its features and of their number."""
    share = share.to(belief.n_seen.dtype)
    return PooledBelief(belief.feature_sum * share.unsqueeze(-1), belief.n_seen * share)


def mean_feature(belief: PooledBelief) -> Tensor:
    """Return the mean feature, (task, feature_dim); zero for an empty context."""
    return belief.feature_sum / belief.n_seen.clamp(min=1.0).unsqueeze(-1)
