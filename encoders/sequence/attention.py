"""An encoder that attends to the newest transitions of a trial."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from encoders.feature_encoder import FeatureEncoder
from encoders.kernels.static_shapes import shapes_are_static
from encoders.mlp import mlp
from encoders.sequence.gaps import without_gaps
from encoders.types import CONTEXT_FIELDS, Context, where_present

BLOCKS = 2
"""Number of transformer blocks over the transitions"""
HEADS = 4
"""Number of attention heads, if it divides the features' width"""


class WindowBelief(NamedTuple):
    """The newest transitions of a trial."""

    window: Tensor
    """(task, window, feature_dim), features in time order, the newest last; zeros at the start if fewer were seen"""
    n_held: Tensor
    """(task,), number of transitions in the window"""


class WindowedAttention(FeatureEncoder[WindowBelief]):
    """q(z|c) from self-attention over the newest transitions (Vaswani et al. 2017), pooled by a learned query.

    Transitions attend to each other before pooling, so that the evidence of one may depend on the others: for example,
    a reward on the previous reward. Pooling is that of set transformers (Lee et al. 2019, section 3.2); the blocks use
    pre-normalisation (Xiong et al. 2020). The head also reads the number of transitions, which averages do not contain.

    Transitions older than ``window`` are forgotten. Memory and cost are therefore bounded for trials of any length, but
    the agent has to find old evidence again. If that matters, choose a window of the trial's length.

    An embedding of each transition's age, counted from the newest one, is added to its features. An age has the same
    meaning in short, long and cut contexts; a position counted from the trial's start has not. The embeddings start at
    zero, because order contains no information about a fixed task; learning changes them if order matters.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition that the encoder reads.
        hidden_sizes: widths of the feature network's hidden layers.
        feature_dim: width of the features, before and after attention.
        head_sizes: widths of the head's hidden layers.
        min_stddev: floor of the posterior's standard deviation.
        window: number of transitions that are kept.
    """

    reads_amount = True

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
        window: int = 128,
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
        self.window = window
        self.ages = nn.Parameter(torch.zeros(window, feature_dim))
        self.blocks = nn.ModuleList(_Block(feature_dim) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(feature_dim)
        self.query = nn.Parameter(torch.randn(feature_dim))
        self.pooling = _Attention(feature_dim)

    def prior(self, n_tasks: int) -> WindowBelief:  # noqa: D102
        parameter = next(self.parameters())
        return WindowBelief(parameter.new_zeros(n_tasks, self.window, self.feature_dim), parameter.new_zeros(n_tasks))

    def update(self, belief: WindowBelief, context: Context) -> WindowBelief:
        """Shift the window by the new transitions; those that would not stay in it are not read."""
        inputs, mask = without_gaps(self.inputs(context), context.mask, newest_last=True)
        inputs, mask = inputs[:, -self.window :], mask[:, -self.window :]
        features = where_present(self.features, inputs, mask)
        n_new = mask.sum(1)
        n_before = self.window - mask.shape[1]
        features, mask = functional.pad(features, (0, 0, n_before, 0)), functional.pad(mask, (n_before, 0))
        came_from = torch.arange(self.window, device=mask.device) + n_new.unsqueeze(1)
        moved = belief.window.take_along_dim(came_from.clamp(max=self.window - 1).unsqueeze(-1), dim=1)
        n_held = (belief.n_held + n_new.to(belief.n_held.dtype)).clamp(max=self.window)
        return WindowBelief(torch.where(mask.unsqueeze(-1), features, moved), n_held)

    def posterior(self, belief: WindowBelief) -> Normal:
        """Read q(z | c) from the window: mean and stddev each (task, latent_dim)."""
        longest = self.window if shapes_are_static() else max(1, int(belief.n_held.max()))
        tokens = belief.window[:, -longest:] + self.ages[-longest:]
        age = torch.arange(longest - 1, -1, -1, device=tokens.device)
        # An empty window attends to its last place, because a softmax over nothing is undefined. The prior replaces it.
        present = age < belief.n_held.clamp(min=1).unsqueeze(1)
        for block in self.blocks:
            tokens = block(tokens, present)
        query = self.query.expand(len(tokens), 1, -1)
        pooled = self.pooling(query, self.norm(tokens), present).squeeze(1)
        amount = torch.log1p(belief.n_held).unsqueeze(-1)
        return self.read(torch.cat([pooled, amount], dim=-1), belief.n_held)


def multi_head_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, n_heads: int) -> Tensor:
    """Return the attended values of each query (Vaswani et al. 2017, section 3.2).

    Args:
        queries: (task, query, width).
        keys: (task, token, width).
        values: (task, token, width).
        mask: broadcasts to (task, head, query, token). If bool, False hides a token; if float, a bias on the logits.
        n_heads: number of heads; it divides the width.

    Returns:
        (task, query, width).
    """
    queries, keys, values = (rows.unflatten(-1, (n_heads, -1)).transpose(1, 2) for rows in (queries, keys, values))
    found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return found.transpose(1, 2).flatten(2)


class _Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) without biases: the norms before it have them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.n_heads = math.gcd(dim, HEADS)
        self.queries = nn.Linear(dim, dim, bias=False)
        self.keys_and_values = nn.Linear(dim, 2 * dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, asked: Tensor, present: Tensor) -> Tensor:
        """Attend from ``asking`` (task, query, dim) to those of ``asked`` (task, token, dim) that are ``present``."""
        keys, values = self.keys_and_values(asked).chunk(2, dim=-1)
        found = multi_head_attention(self.queries(asking), keys, values, present[:, None, None, :], self.n_heads)
        output: Tensor = self.output(found)
        return output


class _Block(nn.Module):
    """A transformer block with pre-normalisation (Xiong et al. 2020, figure 1b)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = _Attention(dim)
        self.perceptron_norm = nn.LayerNorm(dim)
        self.perceptron = mlp(dim, (2 * dim,), dim)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the block's output (task, token, dim); tokens attend to those that are ``present`` (task, token)."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed, present)
        read: Tensor = tokens + self.perceptron(self.perceptron_norm(tokens))
        return read
