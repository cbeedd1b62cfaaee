"""An encoder that reads a trial in time order and keeps a hidden state."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from encoders.feature_encoder import FeatureEncoder
from encoders.kernels.gated_recurrence import GatedRecurrentUnit
from encoders.kernels.static_shapes import shapes_are_static
from encoders.sequence.gaps import without_gaps
from encoders.types import CONTEXT_FIELDS, Context, where_present


class RecurrentBelief(NamedTuple):
    """Belief of a recurrent encoder: its hidden state."""

    hidden: Tensor
    """(task, feature_dim), between -1 and 1"""
    n_seen: Tensor
    """(task,), number of transitions so far"""


class RecurrentFeatures(FeatureEncoder[RecurrentBelief]):
    """q(z|c) from a GRU's hidden state after the trial's transitions in time order (Cho et al. 2014).

    RL² (Duan et al. 2016), VariBAD (Zintgraf et al. 2020, section 3.1) and the recurrent ablation of PEARL (Rakelly et
    al. 2019, section 6) infer the task in this way. This encoder can track a changing task, and read dynamics from the
    sequence of transitions. It has to learn that order contains no information about a fixed task; in pooled encoders
    this is built in. Steps are sequential, so that long contexts take several times as long.

    The state starts at zero in each context. A context that is cut to its newest transitions counts as a trial that
    starts there. A context after an early context counts as the continuation of the same trial.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
        hidden_sizes: widths of the feature network's hidden layers.
        feature_dim: width of the features and of the hidden state.
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
        super().__init__(
            observation_dim,
            action_dim,
            latent_dim,
            context_fields,
            hidden_sizes=hidden_sizes,
            feature_dim=feature_dim,
            head_sizes=head_sizes,
            min_stddev=min_stddev,
        )
        self.recurrence = GatedRecurrentUnit(self.feature_dim, self.feature_dim)

    def prior(self, n_tasks: int) -> RecurrentBelief:  # noqa: D102
        parameter = next(self.parameters())
        return RecurrentBelief(parameter.new_zeros(n_tasks, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: RecurrentBelief, context: Context) -> RecurrentBelief:
        """Step each task's state through its transitions; masked steps, at any position, do not change it."""
        inputs, mask = without_gaps(self.inputs(context), context.mask)
        n_new = mask.sum(1)
        # Steps are sequential: padding after the longest task's last transition would cost as much as transitions.
        longest = mask.shape[1] if shapes_are_static() or mask.numel() == 0 else int(n_new.max())
        states = belief.hidden.unsqueeze(1)
        if longest > 0:
            features = functional.relu(where_present(self.features, inputs[:, :longest], mask[:, :longest]))
            later, _ = self.recurrence(features, states.transpose(0, 1).contiguous())
            states = torch.cat([states, later], dim=1)
        hidden = states.take_along_dim(n_new.view(-1, 1, 1), dim=1).squeeze(1)
        return RecurrentBelief(hidden, belief.n_seen + n_new.to(belief.n_seen.dtype))

    def posterior(self, belief: RecurrentBelief) -> Normal:  # noqa: D102
        return self.read(belief.hidden, belief.n_seen)
