"""What encoders that read trials in time order can learn to infer, and what only they can."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from encoders import Context
from tests.support.encoder_tester import ACTION_DIM, KINDS_OVER_TIME, OBSERVATION_DIM, build_encoder, random_mask

STEPS = 6
Problem = Callable[[torch.Generator], tuple[Context, Tensor]]


def context_of(observation: Tensor, reward: Tensor, mask: Tensor) -> Context:
    """A context whose observations differ in their first entry alone."""
    wide = torch.zeros(*reward.shape, OBSERVATION_DIM)
    wide[..., 0] = observation
    return Context(wide, torch.zeros(*reward.shape, ACTION_DIM), reward, wide, mask)


def newest_reward(rng: torch.Generator) -> tuple[Context, Tensor]:
    """Rewards without a pattern; the answer is the one that came last."""
    reward = torch.randn(64, STEPS, generator=rng)
    mask = random_mask(64, STEPS, seed=int(torch.randint(1000, (1,), generator=rng)))
    mask[:, 0] = True
    newest = STEPS - 1 - mask.flip(1).int().argmax(1)
    return context_of(torch.zeros(64, STEPS), reward, mask), reward[torch.arange(64), newest]


def slope(rng: torch.Generator) -> tuple[Context, Tensor]:
    """Rewards on a line, which has both an offset and a slope; the answer is the slope, which no point shows alone."""
    slopes, offsets = torch.randn(2, 64, 1, generator=rng)
    observation = torch.randn(64, STEPS, generator=rng)
    return context_of(observation, slopes * observation + offsets, torch.ones(64, STEPS).bool()), slopes.squeeze(1)


def unexplained(kind: str, problem: Problem, *, steps: int) -> float:
    """Mean squared error of the posterior mean's first entry, as a share of the answers' variance, after learning."""
    encoder = build_encoder(kind, hidden_sizes=(32,), feature_dim=32, head_sizes=(32,), window=STEPS)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    rng, errors = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        context, answer = problem(rng)
        error = (encoder.posterior(encoder.encode(context)).mean[:, 0] - answer).square().mean() / answer.var()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    return sum(errors[-20:]) / 20


@pytest.mark.parametrize("kind", KINDS_OVER_TIME)
def test_kinds_that_read_in_time_learn_which_reward_came_last(kind: str) -> None:
    assert unexplained(kind, newest_reward, steps=60) < 0.1


def test_a_kind_that_pools_cannot_know_which_reward_came_last() -> None:
    assert unexplained("pooled_features", newest_reward, steps=150) > 0.5


@pytest.mark.parametrize("kind", KINDS_OVER_TIME)
def test_kinds_that_read_in_time_learn_what_only_several_transitions_show_together(kind: str) -> None:
    assert unexplained(kind, slope, steps=250) < 0.1
