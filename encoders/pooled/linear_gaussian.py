"""Linear-Gaussian encoder: each transition is one noisy linear measurement of z."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal

from encoders.base import ContextEncoder
from encoders.kernels.inverse import inverse_of_positive_definite
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, Context, GaussianBelief, forget_evidence, weigh_evidence


class LinearGaussian(ContextEncoder[GaussianBelief]):
    """Permutation-invariant q(z|c): a product of rank-one Gaussian factors, one per transition.

    A network maps each transition to a measurement ``y = h . z + noise`` of unit variance. One transition therefore
    constrains z along one direction only. The posterior is that of Bayesian linear regression (Bishop 2006, equations
    3.50 and 3.51): precision ``I + sum h h'``, mean ``precision^-1 sum h y``. If the reward is a distance, one
    measurement restricts the goal to a circle, and two circles intersect in few points. The diagonal factors of Rakelly
    et al. 2019, eq. 2 would have to guess the point from each transition alone.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
        hidden_sizes: widths of the measurement network's hidden layers.
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
        min_stddev: float = 1e-3,
    ) -> None:
        super().__init__(observation_dim, action_dim, latent_dim, context_fields)
        self.min_stddev = min_stddev
        self.network = mlp(self.input_dim, hidden_sizes, latent_dim + 1, activation=torch.nn.SiLU)

    def prior(self, n_tasks: int) -> GaussianBelief:  # noqa: D102
        parameter = next(self.parameters())
        eye = torch.eye(self.latent_dim, dtype=torch.float64, device=parameter.device)
        zeros = eye.new_zeros(n_tasks, self.latent_dim)
        return GaussianBelief(eye.repeat(n_tasks, 1, 1), zeros, zeros.new_zeros(n_tasks))

    def update(self, belief: GaussianBelief, context: Context) -> GaussianBelief:
        """Fold transitions into the belief.

        The products are summed in double precision: in single precision, rounding errors can exceed the prior, and the
        precision matrix is no longer positive definite. For the same reason, ``min_stddev`` limits the precision of
        each measurement.
        """
        measurement = self.read_each(self.network, context).double()
        longest = 1.0 / self.min_stddev
        length = measurement[..., : self.latent_dim].norm(dim=-1, keepdim=True)
        measurement = measurement * (longest / length.clamp(min=longest))
        direction, value = measurement.split([self.latent_dim, 1], dim=-1)
        precision = direction.transpose(1, 2) @ direction
        weighted_mean = (direction * value).sum(1)
        n_seen = belief.n_seen + context.mask.sum(1)
        return GaussianBelief(belief.precision + precision, belief.weighted_mean + weighted_mean, n_seen)

    def forget(self, belief: GaussianBelief, share: Tensor) -> GaussianBelief:  # noqa: D102
        return forget_evidence(belief, self.prior(len(belief.n_seen)), share)

    def posterior(self, belief: GaussianBelief) -> Normal:
        """Read the marginals of q(z | c): mean and stddev each (task, latent_dim).

        The precision matrix is inverted in double precision: after many transitions, the ratio of its largest to its
        smallest eigenvalue is too large for single precision.
        """
        if math.isfinite(self.evidence_limit):
            belief = weigh_evidence(belief, self.prior(len(belief.n_seen)), self.evidence_weight(belief.n_seen))
        covariance = inverse_of_positive_definite(belief.precision)
        mean = (covariance @ belief.weighted_mean.unsqueeze(-1)).squeeze(-1)
        variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=self.min_stddev**2)
        return Normal(mean.float(), variance.sqrt().float(), validate_args=False)
