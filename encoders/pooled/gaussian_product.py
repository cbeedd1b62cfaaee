"""Product of Gaussians: one factor per transition."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from encoders.base import ContextEncoder
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, Context, GaussianBelief, forget_evidence, weigh_evidence


class ProductOfGaussians(ContextEncoder[GaussianBelief]):
    """Permutation-invariant q(z|c): a product of one Gaussian factor per transition (Rakelly et al. 2019, eq. 2).

    The prior N(0, I) is a factor too. An empty context therefore gives the prior, and no posterior is wider.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
        hidden_sizes: widths of the factor network's hidden layers.
        min_stddev: floor of a factor's and of the posterior's standard deviation.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        latent_dim: int,
        context_fields: Sequence[str] = CONTEXT_FIELDS[:3],
        *,
        hidden_sizes: Sequence[int] = (128, 128),
        min_stddev: float = 1e-3,
    ) -> None:
        super().__init__(observation_dim, action_dim, latent_dim, context_fields)
        self.min_stddev = min_stddev
        self.network = mlp(self.input_dim, hidden_sizes, 2 * latent_dim)

    def factors(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return each transition's precision and precision times mean, (task, step, latent_dim); zero where masked."""
        mean, raw_variance = self.read_each(self.network, context).chunk(2, dim=-1)
        precision = 1.0 / (functional.softplus(raw_variance) + self.min_stddev**2)
        precision = torch.where(context.mask.unsqueeze(-1), precision, 0.0)
        return precision, precision * mean

    def prior(self, n_tasks: int) -> GaussianBelief:  # noqa: D102
        parameter = next(self.parameters())
        zeros = parameter.new_zeros(n_tasks, self.latent_dim)
        return GaussianBelief(torch.ones_like(zeros), zeros, zeros.new_zeros(n_tasks))

    def update(self, belief: GaussianBelief, context: Context) -> GaussianBelief:  # noqa: D102
        precision, weighted_mean = self.factors(context)
        n_seen = belief.n_seen + context.mask.sum(1, dtype=belief.n_seen.dtype)
        return GaussianBelief(belief.precision + precision.sum(1), belief.weighted_mean + weighted_mean.sum(1), n_seen)

    def forget(self, belief: GaussianBelief, share: Tensor) -> GaussianBelief:  # noqa: D102
        return forget_evidence(belief, self.prior(len(belief.n_seen)), share)

    def posterior(self, belief: GaussianBelief) -> Normal:  # noqa: D102
        if math.isfinite(self.evidence_limit):
            belief = weigh_evidence(belief, self.prior(len(belief.n_seen)), self.evidence_weight(belief.n_seen))
        stddev = belief.precision.rsqrt().clamp(min=self.min_stddev)
        return Normal(belief.weighted_mean / belief.precision, stddev, validate_args=False)
