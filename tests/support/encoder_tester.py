"""What every encoder's tests are made of: encoders of each kind, random contexts, comparisons."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from encoders import CONTEXT_FIELDS, Context, ContextEncoder, EncoderConfig, WindowedAttention, make_encoder
from encoders.config import ENCODERS

# The blind reference infers nothing, so that most promises do not apply to it; test_blind.py holds it to its own.
KINDS = tuple(kind for kind in ENCODERS if kind != "blind")
KINDS_OVER_TIME = ("gru", "attention")
ORDER_FREE_KINDS = tuple(kind for kind in KINDS if kind not in KINDS_OVER_TIME)
OBSERVATION_DIM, ACTION_DIM, LATENT_DIM = 3, 2, 4
# Shorter than the longer ones of the contexts that every kind is asked about.
WINDOW = 16
MIN_STDDEV = 1e-3
# Single precision sums in another order differ by this much.
TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def build_encoder(kind: str, *, seed: int = 0, **settings: Any) -> ContextEncoder[Any]:
    sizes: dict[str, Any] = {
        "latent_dim": LATENT_DIM,
        "hidden_sizes": (16, 16),
        "feature_dim": 8,
        "head_sizes": (16,),
        "min_stddev": MIN_STDDEV,
        "window": WINDOW,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = make_encoder(EncoderConfig(kind=kind, **{**sizes, **settings}), OBSERVATION_DIM, ACTION_DIM)
        if isinstance(encoder, WindowedAttention):  # Ages are born zero, where mistakes about them would not show.
            nn.init.normal_(encoder.ages)
    if kind in KINDS_OVER_TIME:  # At small weights a transition more or less changes little more than the tolerance.
        torch._foreach_mul_([parameter.data for parameter in encoder.parameters()], 1.5)
    return encoder


STOCHASTIC_KINDS = [kind for kind in KINDS if build_encoder(kind).stochastic]


def random_context(tasks: int, steps: int, *, seed: int = 0, scale: float = 1.0) -> Context:
    rng = torch.Generator().manual_seed(seed)
    return Context(
        observation=scale * torch.randn(tasks, steps, OBSERVATION_DIM, generator=rng),
        action=scale * torch.randn(tasks, steps, ACTION_DIM, generator=rng),
        reward=scale * torch.randn(tasks, steps, generator=rng),
        next_observation=scale * torch.randn(tasks, steps, OBSERVATION_DIM, generator=rng),
        mask=torch.ones(tasks, steps, dtype=torch.bool),
    )


def random_mask(tasks: int, steps: int, *, seed: int = 0) -> Tensor:
    return torch.rand(tasks, steps, generator=torch.Generator().manual_seed(seed)) < 0.6


def at_steps(context: Context, steps: slice | Tensor) -> Context:
    return Context(*(values[:, steps] for values in context))


def at_tasks(context: Context, tasks: slice | Tensor) -> Context:
    return Context(*(values[tasks] for values in context))


def filled_where_masked(context: Context, value: float) -> Context:
    """Put ``value`` into every padded step of every field."""
    filled = {}
    for field in CONTEXT_FIELDS:
        values = getattr(context, field)
        keep = context.mask.view(*context.mask.shape, *[1] * (values.dim() - 2))
        filled[field] = torch.where(keep, values, value)
    return context._replace(**filled)


def fold(encoder: ContextEncoder[Any], context: Context, lengths: Sequence[int]) -> Any:
    """Update the prior with consecutive pieces of the context."""
    assert sum(lengths) == context.mask.shape[1]
    belief = encoder.prior(context.mask.shape[0])
    for piece in zip(*(values.split(list(lengths), dim=1) for values in context), strict=True):
        belief = encoder.update(belief, Context(*piece))
    return belief


def posterior_after(encoder: ContextEncoder[Any], context: Context) -> Normal:
    return encoder.posterior(encoder.encode(context))


def assert_close(found: Normal, expected: Normal) -> None:
    torch.testing.assert_close(found.mean, expected.mean, **TOLERANCE)
    torch.testing.assert_close(found.stddev, expected.stddev, **TOLERANCE)


def assert_identical(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def gradients(encoder: ContextEncoder[Any], context: Context, *, of: str = "both") -> list[Tensor]:
    """Gradients of the posterior's mean, stddev or both in each parameter; zero where there is none."""
    posterior = posterior_after(encoder, context)
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(2, *posterior.mean.shape, generator=rng)
    parts = {"mean": posterior.mean * weights[0], "stddev": posterior.stddev * weights[1]}
    chosen = parts.values() if of == "both" else [parts[of]]
    total = torch.stack([part.sum() for part in chosen]).sum()
    return list(torch.autograd.grad(total, list(encoder.parameters()), allow_unused=True, materialize_grads=True))


class Readout(nn.Module):
    """Stands in for a network: reads the reward, the input's last value, into given columns."""

    def __init__(self, *columns: tuple[float, float]) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([slope for slope, _ in columns]))
        self.offset = torch.tensor([offset for _, offset in columns])

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[..., -1:] * self.slope + self.offset


def context_of_rewards(*tasks: list[float]) -> Context:
    """A context of width one in every field; shorter tasks are padded."""
    steps = max(map(len, tasks))
    values = torch.tensor([[*task, *[math.nan] * (steps - len(task))] for task in tasks])
    zeros = torch.zeros(len(tasks), steps, 1)
    return Context(zeros, zeros, values, zeros, ~values.isnan())
