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
    """(task,), transitions seen so far"""


class RecurrentFeatures(FeatureEncoder[RecurrentBelief]):
    """q(z|c) from a GRU's hidden state after the trial's transitions in time order (Cho et al. 2014).

    So RL² (Duan et al. 2016) and VariBAD (Zintgraf et al. 2020, section 3.1) infer the task, and so does the recurrent
    ablation of PEARL (Rakelly et al. 2019, section 6). It can follow a task that changes, and see dynamics in how one
    transition follows another. That order says nothing of a fixed task it has to learn, where pooled encoders know it,
    and as steps are taken one after another, long contexts take several times as long.

    The state starts at zero in each context. A context that is cut to its newest transitions is read as a trial that
    starts there, and one that follows an early context as the same trial going on.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition the encoder reads.
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
        """Step each task's state through its transitions; masked steps, wherever they stand, leave it as it was."""
        inputs, mask = without_gaps(self.inputs(context), context.mask)
        n_new = mask.sum(1)
        # The steps are taken one after another, so that those behind the longest task's last one cost as much.
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
