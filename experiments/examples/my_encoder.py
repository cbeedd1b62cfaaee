"""An encoder of your own, in one file: docs/add-an-encoder.md explains it line by line.

cd experiments/examples
python ../train.py point-robot --import my_encoder --encoder.kind range
python ../evaluate.py runs/point-robot-seed0 --import my_encoder
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

import pearl
from encoders import Context, ContextEncoder, EncoderConfig, mlp


class RangeBelief(NamedTuple):
    """Everything that is known of each task: tensors, the first dimension is the task."""

    largest: Tensor
    """(task, feature_dim), of each feature in the context so far"""
    smallest: Tensor
    """(task, feature_dim)"""
    n_seen: Tensor
    """(task,), transitions so far"""


class RangeEncoder(ContextEncoder[RangeBelief]):
    """Pools the transitions' features by their largest and their smallest value."""

    def __init__(self, config: EncoderConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(observation_dim, action_dim, config.latent_dim, config.context_fields)
        self.feature_dim = config.feature_dim
        self.min_stddev = config.min_stddev
        self.features = mlp(self.input_dim, config.hidden_sizes, config.feature_dim)
        self.head = mlp(2 * config.feature_dim, config.head_sizes, 2 * config.latent_dim)

    def prior(self, n_tasks: int) -> RangeBelief:
        """Return the belief before any transition: nothing is larger than -1, nothing smaller than 1."""
        ones = next(self.parameters()).new_ones(n_tasks, self.feature_dim)
        return RangeBelief(-ones, ones, ones.new_zeros(n_tasks))

    def update(self, belief: RangeBelief, context: Context) -> RangeBelief:
        """Fold transitions, (task, step, …), into the belief; masked steps change nothing."""
        features = self.read_each(self.features, context).tanh()
        absent = ~context.mask.unsqueeze(-1)
        largest = torch.cat([belief.largest.unsqueeze(1), features.masked_fill(absent, -1.0)], dim=1).amax(1)
        smallest = torch.cat([belief.smallest.unsqueeze(1), features.masked_fill(absent, 1.0)], dim=1).amin(1)
        return RangeBelief(largest, smallest, belief.n_seen + context.mask.sum(1).to(belief.n_seen.dtype))

    def posterior(self, belief: RangeBelief) -> Normal:
        """Read q(z|c), mean and stddev each (task, latent_dim); N(0, I) where nothing was seen."""
        mean, raw_stddev = self.head(torch.cat([belief.largest, belief.smallest], dim=-1)).chunk(2, dim=-1)
        stddev = functional.softplus(raw_stddev) + self.min_stddev
        seen = (belief.n_seen > 0).unsqueeze(-1)
        return Normal(torch.where(seen, mean, 0.0), torch.where(seen, stddev, 1.0), validate_args=False)


pearl.register_encoder("range", RangeEncoder)
