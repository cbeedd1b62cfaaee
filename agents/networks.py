"""Actors and critics, conditioned on z."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.policies import LOG_STDDEV_RANGE, Categorical, SquashedGaussian
from encoders import mlp


class Actor(nn.Module):
    """pi(a | s, z), a squashed Gaussian in normalised action units.

    Args:
        observation_dim: width of an observation.
        action_dim: width of an action.
        latent_dim: width of z.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, observation_dim: int, action_dim: int, latent_dim: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(observation_dim + latent_dim, hidden_sizes, 2 * action_dim)

    def forward(self, observation: Tensor, z: Tensor) -> SquashedGaussian:
        """Return the distribution over actions for (…, observation_dim) and z (…, latent_dim)."""
        mean, log_stddev = self.network(torch.cat([observation, z], dim=-1)).chunk(2, dim=-1)
        return SquashedGaussian(mean, log_stddev.clamp(*LOG_STDDEV_RANGE))


class CategoricalActor(nn.Module):
    """pi(a | s, z) over a finite set of actions.

    Args:
        observation_dim: width of an observation.
        n_actions: size of the set.
        latent_dim: width of z.
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, observation_dim: int, n_actions: int, latent_dim: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(observation_dim + latent_dim, hidden_sizes, n_actions)

    def forward(self, observation: Tensor, z: Tensor) -> Categorical:
        """Return the distribution over actions for (…, observation_dim) and z (…, latent_dim)."""
        return Categorical(self.network(torch.cat([observation, z], dim=-1)).log_softmax(-1))


class CriticEnsemble(nn.Module):
    """Independent critics of one shape, evaluated in one batched product per layer.

    They read Q_i(s, a, z) as one value, or give Q_i(s, ·, z) as a value for each action of a finite set.

    Args:
        n_critics: size of the ensemble.
        input_dim: width of everything a critic reads, joined.
        hidden_sizes: widths of the hidden layers.
        output_dim: values that a critic gives.
        layer_norm: normalise each hidden layer before its activation (Ba et al. 2016), without learned scales.
    """

    def __init__(
        self,
        n_critics: int,
        input_dim: int,
        hidden_sizes: Sequence[int],
        output_dim: int = 1,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise([input_dim, *hidden_sizes, output_dim]):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(n_critics, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(n_critics, 1, fan_out).uniform_(-bound, bound)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (critic, task, step, output_dim), in single precision, for inputs (task, step, dim), joined."""
        joined = torch.cat(inputs, dim=-1)
        tasks, steps, width = joined.shape
        hidden = joined.reshape(1, tasks * steps, width).expand(self.weights[0].shape[0], -1, -1)
        *layers, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in layers:
            hidden = torch.baddbmm(bias, hidden, weight)
            if self.layer_norm:
                hidden = functional.layer_norm(hidden, hidden.shape[-1:])
            hidden = functional.relu(hidden)
        with torch.autocast(hidden.device.type, enabled=False):  # values need more than 8 bits
            output = _product(last[1], hidden.float(), last[0])
        return output.view(len(output), tasks, steps, -1)


def _product(bias: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Return bias + hidden @ weight for each critic; a batched product with one column takes twice as long as a sum."""
    if weight.shape[-1] == 1:
        return (hidden * weight.mT).sum(-1, keepdim=True) + bias
    return torch.baddbmm(bias, hidden, weight)


class ResidualEnsemble(nn.Module):
    """Critics of residual blocks with layer norm (SimBa, Lee et al. 2025): x + W2 relu(W1 norm(x)), four times as wide.

    Args: as of ``CriticEnsemble``; the first width is the blocks', and there is a block for each width.
    """

    def __init__(self, n_critics: int, input_dim: int, hidden_sizes: Sequence[int], output_dim: int = 1) -> None:
        super().__init__()
        width = hidden_sizes[0]
        self.n_critics = n_critics
        shapes = [
            (input_dim, width),
            *[(width, 4 * width), (4 * width, width)] * len(hidden_sizes),
            (width, output_dim),
        ]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for number, (fan_in, fan_out) in enumerate(shapes):
            weight = torch.empty(n_critics, fan_in, fan_out)
            for one in weight:
                if number in (0, len(shapes) - 1):
                    nn.init.orthogonal_(one)
                else:
                    nn.init.kaiming_normal_(one.T, nonlinearity="relu")
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(n_critics, 1, fan_out)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (critic, task, step, output_dim) for inputs (task, step, dim), joined."""
        joined = torch.cat(inputs, dim=-1)
        tasks, steps, width = joined.shape
        (first, *blocks, last) = zip(self.weights, self.biases, strict=True)
        rows = joined.reshape(1, tasks * steps, width).expand(self.n_critics, -1, -1)
        hidden = torch.baddbmm(first[1], rows, first[0])
        for (wide, wide_bias), (back, back_bias) in zip(blocks[::2], blocks[1::2], strict=True):
            inner = functional.layer_norm(hidden, hidden.shape[-1:])
            inner = functional.relu(torch.baddbmm(wide_bias, inner, wide))
            hidden = hidden + torch.baddbmm(back_bias, inner, back)
        with torch.autocast(hidden.device.type, enabled=False):
            output = _product(last[1], functional.layer_norm(hidden.float(), hidden.shape[-1:]), last[0])
        return output.view(len(output), tasks, steps, -1)


class ConditionedEnsemble(nn.Module):
    """Networks that read z apart from the rest (Perez et al. 2018; Sarafian et al. 2021), an ensemble of them.

    FiLM: each hidden layer is scaled by 1 + A z and shifted by B z. Hypernetwork: the first layer's weights are
    W + sum_k z_k V_k. A, B and V start at zero, but for the first shift, which is how z enters at all.
    """

    def __init__(
        self,
        kind: str,
        n: int,
        input_dim: int,
        latent_dim: int,
        hidden_sizes: Sequence[int],
        output_dim: int,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.layer_norm = layer_norm
        self.input_dim = input_dim
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.modulations = nn.ParameterList()
        first = input_dim + latent_dim + input_dim * latent_dim * (kind == "hypernetwork")
        for number, (fan_in, fan_out) in enumerate(pairwise([first, *hidden_sizes, output_dim])):
            bound = 1.0 / math.sqrt(input_dim + latent_dim if number == 0 else fan_in)
            weight = torch.empty(n, fan_in, fan_out).uniform_(-bound, bound)
            if number == 0:
                weight[:, input_dim + latent_dim :] = 0.0
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.empty(n, 1, fan_out).uniform_(-bound, bound)))
            if kind == "film" and number < len(hidden_sizes):
                self.modulations.append(nn.Parameter(torch.zeros(n, latent_dim, 2 * fan_out)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (network, …, output_dim) for inputs (…, dim), the last of which is z."""
        z = inputs[-1]
        joined = torch.cat(inputs, dim=-1)
        if self.kind == "hypernetwork":
            products = (joined[..., : self.input_dim].unsqueeze(-1) * z.unsqueeze(-2)).flatten(-2)
            joined = torch.cat([joined, products], dim=-1)
        n = self.weights[0].shape[0]
        shape = joined.shape[:-1]
        hidden = joined.reshape(1, -1, joined.shape[-1]).expand(n, -1, -1)
        z = z.reshape(1, -1, z.shape[-1]).expand(n, -1, -1)
        *layers, last = zip(self.weights, self.biases, strict=True)
        for number, (weight, bias) in enumerate(layers):
            hidden = torch.baddbmm(bias, hidden, weight)
            if self.layer_norm:
                hidden = functional.layer_norm(hidden, hidden.shape[-1:])
            if self.kind == "film":
                scale, shift = torch.bmm(z, self.modulations[number]).chunk(2, -1)
                hidden = (1.0 + scale) * hidden + shift
            hidden = functional.relu(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            output = _product(last[1], hidden.float(), last[0])
        return output.view(n, *shape, -1)


class BinnedCritics(nn.Module):
    """Critics whose values are expectations over bins at symexp-spaced values (Hafner et al. 2023)."""

    bins: Tensor

    def __init__(self, critics: nn.Module, n_bins: int, n_values: int) -> None:
        super().__init__()
        self.critics = critics
        self.n_values = n_values
        ends = torch.linspace(-7.0, 7.0, n_bins)
        self.register_buffer("bins", ends.sign() * ends.abs().expm1(), persistent=False)
        with torch.no_grad():
            critics.weights[-1].zero_()  # type: ignore[index,union-attr]
            critics.biases[-1].zero_()  # type: ignore[index,union-attr]

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return (critic, task, step, value, bin)."""
        return self.critics(*inputs).unflatten(-1, (self.n_values, len(self.bins)))

    def value(self, logits: Tensor) -> Tensor:
        """Return expectations, without the last dimension."""
        return logits.softmax(-1) @ self.bins

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (critic, task, step, value)."""
        return self.value(self.logits(*inputs))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy (critic, task, step, bin) against two-hot targets (task, step): summed over critics, mean."""
        target = target.clamp(self.bins[0], self.bins[-1])
        above = torch.searchsorted(self.bins, target.contiguous()).clamp(1, len(self.bins) - 1)
        low, high = self.bins[above - 1], self.bins[above]
        share = (target - low) / (high - low)
        log_probs = logits.log_softmax(-1)
        index = above.expand(len(logits), *above.shape).unsqueeze(-1)
        upper = log_probs.gather(-1, index).squeeze(-1)
        lower = log_probs.gather(-1, index - 1).squeeze(-1)
        return -(share * upper + (1 - share) * lower).mean((1, 2)).sum()


class ConditionedActor(nn.Module):
    """An actor whose network reads z apart."""

    def __init__(
        self, kind: str, observation_dim: int, n: int, latent_dim: int, sizes: Sequence[int], *, discrete: bool
    ):
        super().__init__()
        self.discrete = discrete
        self.network = ConditionedEnsemble(kind, 1, observation_dim, latent_dim, sizes, n if discrete else 2 * n)

    def forward(self, observation: Tensor, z: Tensor) -> SquashedGaussian | Categorical:
        """As of ``Actor`` and ``CategoricalActor``."""
        output = self.network(observation, z).squeeze(0)
        if self.discrete:
            return Categorical(output.log_softmax(-1))
        mean, log_stddev = output.chunk(2, dim=-1)
        return SquashedGaussian(mean, log_stddev.clamp(*LOG_STDDEV_RANGE))
