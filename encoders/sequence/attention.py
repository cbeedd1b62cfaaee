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
"""Transformer blocks through which transitions read each other"""
HEADS = 4
"""Attention heads, where the features' width can be divided among so many"""


class WindowBelief(NamedTuple):
    """The newest transitions of a trial."""

    window: Tensor
    """(task, window, feature_dim), features in time order, the newest last, behind zeros where fewer were seen"""
    n_held: Tensor
    """(task,), transitions in the window"""


class WindowedAttention(FeatureEncoder[WindowBelief]):
    """q(z|c) from self-attention over the newest transitions (Vaswani et al. 2017), pooled by a learned query.

    Transitions read each other before anything is pooled, so that what one of them says may depend on the others: a
    reward on which reward went before. Pooling is that of set transformers (Lee et al. 2019, section 3.2), the blocks
    normalise what they read (Xiong et al. 2020), and the head is also told how many transitions there are, which
    averages do not show.

    Older transitions than ``window`` are forgotten entirely: memory and cost stay the same however long a trial, and
    what was seen only then has to be found again. Choose a window of the trial's length where that matters.

    A transition's age, counted from the newest one, is added to its features. It means the same in a short context, a
    long one, and one whose beginning was cut off, where a number counted from the trial's start does not. Ages start at
    zero: order, which says nothing of a fixed task, does not matter until a gradient says that it does.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        context_fields: parts of a transition the encoder reads.
        hidden_sizes: widths of the feature network's hidden layers.
        feature_dim: width of the features, before and after attention.
        head_sizes: widths of the head's hidden layers.
        min_stddev: floor of the posterior's standard deviation.
        window: transitions that are kept.
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
        """Move the window on; transitions that would fall out of it at once are not even read."""
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
        # Of an empty window the newest place is read, for a softmax over nothing is undefined; the prior replaces it.
        present = age < belief.n_held.clamp(min=1).unsqueeze(1)
        for block in self.blocks:
            tokens = block(tokens, present)
        query = self.query.expand(len(tokens), 1, -1)
        pooled = self.pooling(query, self.norm(tokens), present).squeeze(1)
        amount = torch.log1p(belief.n_held).unsqueeze(-1)
        return self.read(torch.cat([pooled, amount], dim=-1), belief.n_held)


def multi_head_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, n_heads: int) -> Tensor:
    """Return what each query finds, every head in its own share of the width (Vaswani et al. 2017, section 3.2).

    Args:
        queries: (task, query, width).
        keys: (task, token, width).
        values: (task, token, width).
        mask: broadcasts to (task, head, query, token); False hides a token, a number is added to its attention.
        n_heads: divides the width.

    Returns:
        (task, query, width).
    """
    queries, keys, values = (rows.unflatten(-1, (n_heads, -1)).transpose(1, 2) for rows in (queries, keys, values))
    found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return found.transpose(1, 2).flatten(2)


class _Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) of inputs that norms have given biases already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.n_heads = math.gcd(dim, HEADS)
        self.queries = nn.Linear(dim, dim, bias=False)
        self.keys_and_values = nn.Linear(dim, 2 * dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, asked: Tensor, present: Tensor) -> Tensor:
        """Return what ``asking`` (task, query, dim) find among ``asked`` (task, token, dim) that are ``present``."""
        keys, values = self.keys_and_values(asked).chunk(2, dim=-1)
        found = multi_head_attention(self.queries(asking), keys, values, present[:, None, None, :], self.n_heads)
        output: Tensor = self.output(found)
        return output


class _Block(nn.Module):
    """A transformer block that normalises before it reads (Xiong et al. 2020, figure 1b)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = _Attention(dim)
        self.perceptron_norm = nn.LayerNorm(dim)
        self.perceptron = mlp(dim, (2 * dim,), dim)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return tokens (task, token, dim) that have read those of them that are ``present`` (task, token)."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed, present)
        read: Tensor = tokens + self.perceptron(self.perceptron_norm(tokens))
        return read
