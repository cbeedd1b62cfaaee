import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.context.draws import StratifiedDraws, generalised_golden_ratio

CPU = torch.device("cpu")


def begin(n_tasks: int, latent_dim: int, seed: int = 0) -> StratifiedDraws:
    return StratifiedDraws.begin(n_tasks, latent_dim, torch.Generator().manual_seed(seed), CPU)


def now(draws: StratifiedDraws) -> Tensor:
    return draws.noise(torch.zeros(len(draws.episode)))


def take(draws: StratifiedDraws, n_draws: int) -> Tensor:
    """The next draws of each trial, (task, draw, latent_dim)."""
    found = []
    for _ in range(n_draws):
        found.append(now(draws))
        draws = draws.advance(torch.ones(len(draws.episode), dtype=torch.bool))
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("draw", [0, 1, 7])
def test_each_draw_alone_is_standard_normal_over_the_trials(draw: int) -> None:
    noise = take(begin(20_000, 3), draw + 1)[:, draw]
    assert noise.dtype == torch.float32
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), rtol=0, atol=0.03)
    torch.testing.assert_close(noise.T.cov(), torch.eye(3), rtol=0, atol=0.04)
    beyond = (noise.abs() > 1.959964).float().mean()
    assert beyond.item() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_a_trials_draws_fill_the_space_more_evenly_than_independent_ones(latent_dim: int) -> None:
    even = take(begin(500, latent_dim), 8)
    independent = torch.randn(500, 8, latent_dim, generator=torch.Generator().manual_seed(0))

    def nearest(noise: Tensor) -> float:
        uniform = torch.special.ndtr(noise)
        apart = (uniform.unsqueeze(1) - uniform.unsqueeze(2)).abs()
        around = torch.minimum(apart, 1 - apart).norm(dim=-1) + 9.0 * torch.eye(8)
        return float(around.amin((1, 2)).mean())

    assert nearest(even) > 1.2 * nearest(independent)
    # The mean of a trial's draws strays less from zero than that of as many independent ones.
    assert even.mean(1).std() < 0.85 * independent.mean(1).std()


def test_trials_draw_apart_from_one_another() -> None:
    noise = take(begin(20_000, 2), 2)
    pairs = torch.stack([noise[:-1, 0, 0], noise[1:, 0, 0], noise[1:, 1, 1]])
    torch.testing.assert_close(pairs.corrcoef(), torch.eye(3), rtol=0, atol=0.03)


def test_only_the_trials_chosen_advance() -> None:
    draws = begin(3, 2)
    later = draws.advance(torch.tensor([True, False, True]))
    assert later.episode.tolist() == [1, 0, 1]
    assert torch.equal(now(later)[1], now(draws)[1])
    assert not torch.isclose(now(later)[[0, 2]], now(draws)[[0, 2]]).any()
    assert draws.episode.tolist() == [0, 0, 0]


def test_the_same_generator_gives_the_same_draws_and_another_gives_others() -> None:
    assert torch.equal(take(begin(3, 2), 4), take(begin(3, 2), 4))
    assert not torch.isclose(take(begin(3, 2), 4), take(begin(3, 2, seed=1), 4)).any()


@settings(max_examples=30, derandomize=True, database=None)
@given(shift=st.floats(0, 2, exclude_max=True), episode=st.integers(0, 10**9))
def test_every_draw_is_finite(shift: float, episode: int) -> None:
    draws = StratifiedDraws(torch.full((1, 3), shift, dtype=torch.float64), torch.tensor([episode]))
    assert (now(draws).abs() < 6.1).all()


def test_the_whole_way_ahead_lies_the_next_draw_and_a_little_ahead_almost_the_same() -> None:
    draws = begin(50, 2)
    following = now(draws.advance(torch.ones(50, dtype=torch.bool)))
    torch.testing.assert_close(draws.noise(torch.ones(50)), following)
    torch.testing.assert_close(draws.noise(torch.full((50,), 1e-5)), now(draws), rtol=1e-2, atol=1e-2)


def test_the_generalised_golden_ratio_is_the_known_number() -> None:
    assert generalised_golden_ratio(1) == pytest.approx((1 + math.sqrt(5)) / 2)
    assert generalised_golden_ratio(2) == pytest.approx(1.32471795724474602596)
    for dim in (3, 10, 100):
        root = generalised_golden_ratio(dim)
        assert root ** (dim + 1) == pytest.approx(root + 1)
