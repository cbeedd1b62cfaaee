"""Transformer memory: meta-learning by attention over the trial (Melo 2022; Grigsby et al. 2024)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.memory.on_policy import MemoryAgent, MemoryAgentConfig
from agents.memory.sequence_models import SequenceModel
from encoders import ConfigError, mlp, multi_head_attention


@dataclass(frozen=True, kw_only=True)
class TransformerAgentConfig(MemoryAgentConfig):
    """Settings of the transformer agent: policy and training."""

    width: int = 64
    """Width of the transformer's hidden states; a multiple of heads."""
    layers: int = 2
    """Number of blocks, each with attention and a perceptron."""
    heads: int = 4
    """Number of attention heads of each block."""
    window: int = 128
    """Number of newest transitions that a layer attends to. Older ones have an effect through lower layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "layers", "heads", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"agent.{name} must be at least 1, got {getattr(self, name)}.")
        if self.width % self.heads:
            raise ConfigError(f"agent.width ({self.width}) must be a multiple of agent.heads ({self.heads}).")


class AttentionState(NamedTuple):
    """State of a causal transformer, of constant size however long the trial."""

    keys: Tensor
    """(task, layer, window, width), keys of the newest transitions, the newest last"""
    values: Tensor
    """(task, layer, window, width)"""
    seen: Tensor
    """(task,) int64, number of transitions seen"""
    output: Tensor
    """(task, width), the output for the trial so far"""


class CausalTransformer(SequenceModel[AttentionState]):
    """A causal transformer (Vaswani et al. 2017) with pre-normalisation; layers see a window of transitions.

    A bias proportional to distance, with one slope per head, replaces positions (ALiBi, Press et al. 2022). A
    transition's keys and values therefore do not depend on later transitions, and acting reuses them.

    Args:
        input_dim: width of the inputs.
        width: width of the hidden states.
        layers: number of blocks.
        heads: number of heads of each block.
        window: number of newest transitions that a layer attends to.
    """

    slopes: Tensor
    """(head,), the decrease of each head's attention per transition of distance"""

    def __init__(self, input_dim: int, *, width: int, layers: int, heads: int, window: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.window = window
        self.embedding = nn.Linear(input_dim, width)
        self._blocks = [_Block(width) for _ in range(layers)]
        self.blocks = nn.ModuleList(self._blocks)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("slopes", torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads), persistent=False)

    def begin(self, n_tasks: int) -> AttentionState:
        """Return the state before the first transition."""
        nothing = torch.zeros(n_tasks, len(self.blocks), self.window, self.width, dtype=torch.float32)
        seen = torch.zeros(n_tasks, dtype=torch.int64)
        return AttentionState(nothing, nothing, seen, torch.zeros(n_tasks, self.width, dtype=torch.float32))

    def step(self, state: AttentionState, transition: Tensor) -> AttentionState:
        """Return the state after one more transition of each task, (task, input_dim)."""
        hidden = self.embedding(transition).unsqueeze(1)
        age = torch.arange(self.window - 1, -1, -1)
        bias = self._bias(age).expand(len(hidden), -1, -1)
        bias = bias.masked_fill(age > state.seen.view(-1, 1, 1), -math.inf).unsqueeze(2)
        keys, values = [], []
        for layer, block in enumerate(self._blocks):
            query, key, value = block.projected(hidden)
            keys.append(torch.cat([state.keys[:, layer, 1:], key], dim=1))
            values.append(torch.cat([state.values[:, layer, 1:], value], dim=1))
            attended = multi_head_attention(query, keys[-1], values[-1], bias, self.heads)
            hidden = block.after(hidden, attended)
        output = self.norm(hidden).squeeze(1)
        return AttentionState(torch.stack(keys, 1), torch.stack(values, 1), state.seen + 1, output)

    def output(self, state: AttentionState) -> Tensor:
        """Return the output at the newest transition, (task, width)."""
        return state.output

    def forward(self, transitions: Tensor) -> Tensor:  # noqa: D102
        hidden = self.embedding(transitions)
        step = torch.arange(transitions.shape[1])
        age = step.unsqueeze(1) - step
        bias = self._bias(age).masked_fill((age < 0) | (age >= self.window), -math.inf)
        for block in self._blocks:
            query, key, value = block.projected(hidden)
            hidden = block.after(hidden, multi_head_attention(query, key, value, bias, self.heads))
        return functional.pad(self.norm(hidden), (0, 0, 1, 0))

    def _bias(self, age: Tensor) -> Tensor:
        """Return the bias on each head's attention, (head, …), for transitions of the ages ``age`` (…)."""
        return -self.slopes.view(-1, *[1] * age.dim()) * age


class _Block(nn.Module):
    """Attention and perceptron with residual connections.

    It differs from the blocks of ``encoders.WindowedAttention``: acting keeps a transition's keys and values, and one
    projection with biases gives queries, keys and values. Checkpoints hold its parameters by these names.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.perceptron = mlp(width, (4 * width,), width)

    def projected(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (task, step, width)."""
        query, key, value = self.projection(self.attention_norm(hidden)).chunk(3, dim=-1)
        return query, key, value

    def after(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Return the block's output, (task, step, width), from its input and the attended values."""
        hidden = hidden + self.merge(attended)
        added: Tensor = hidden + self.perceptron(self.norm(hidden))
        return added


class TransformerAgent(MemoryAgent):
    """A policy on the output of a causal transformer that reads the trial. See ``MemoryAgent``."""

    config: TransformerAgentConfig

    def make_memory(self, input_dim: int) -> CausalTransformer:
        """Build the transformer."""
        config = self.config
        return CausalTransformer(
            input_dim, width=config.width, layers=config.layers, heads=config.heads, window=config.window
        )
