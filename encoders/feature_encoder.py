"""Base class: embed each transition, summarise, read off the posterior."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from encoders.base import ContextEncoder
from encoders.mlp import mlp
from encoders.types import CONTEXT_FIELDS, BeliefT


class FeatureEncoder(ContextEncoder[BeliefT]):
    """A network embeds each transition into features. A head reads q(z|c) from their summary, which has the same width.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
        hidden_sizes: widths of the feature network's hidden layers.
        feature_dim: width of the features and of their summary.
        head_sizes: widths of the head's hidden layers.
        min_stddev: floor of the posterior's standard deviation.
    """

    reads_amount = False
    """Whether the head also reads the number of transitions"""

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
        self.head = mlp(feature_dim + self.reads_amount, head_sizes, 2 * latent_dim)

    def read(self, summary: Tensor, n_seen: Tensor) -> Normal:
        """Return q(z|c), (task, latent_dim), from a summary of each task's features, (task, …).

        Where ``n_seen`` (task,) is zero, return the prior.
        """
        mean, raw_stddev = self.head(summary).chunk(2, dim=-1)
        stddev = functional.softplus(raw_stddev + 0.5) + self.min_stddev
        seen = (n_seen > 0).unsqueeze(-1)
        return Normal(torch.where(seen, mean, 0.0), torch.where(seen, stddev, 1.0), validate_args=False)
