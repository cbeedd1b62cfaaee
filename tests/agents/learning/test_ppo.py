"""Proximal policy optimisation's losses, against numbers worked out by hand."""

import pytest
import torch

from agents.learning.ppo import clipped_surrogate, generalised_advantages, mean_of_steps, mean_of_tasks, standardised

ALL = torch.ones(1, 3, dtype=torch.bool)


def test_advantages_equal_those_worked_out_by_hand() -> None:
    reward, value = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 0.25]])
    advantages, returns = generalised_advantages(reward, value, ALL, discount=0.9, gae_lambda=0.5)
    third = 2.0 - 0.25
    second = (0.0 + 0.9 * 0.25 - 1.0) + 0.45 * third
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.45 * second
    torch.testing.assert_close(advantages, torch.tensor([[first, second, third]]))
    torch.testing.assert_close(returns, advantages + value)


def test_with_lambda_one_the_returns_are_the_discounted_rewards_of_the_whole_trial() -> None:
    reward, value = torch.tensor([[1.0, 2.0, 3.0]]), torch.randn(1, 3)
    _, returns = generalised_advantages(reward, value, ALL, discount=0.5, gae_lambda=1.0)
    torch.testing.assert_close(returns, torch.tensor([[1 + 1 + 0.75, 2 + 1.5, 3.0]]))


def test_padding_gives_zeros_and_changes_no_advantage_before_it() -> None:
    reward, value = torch.randn(2, 5), torch.randn(2, 5)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    padded = generalised_advantages(reward, value, mask, discount=0.9, gae_lambda=0.7)
    short = generalised_advantages(reward[1:, :3], value[1:, :3], ALL, discount=0.9, gae_lambda=0.7)
    for with_padding, without in zip(padded, short, strict=True):
        torch.testing.assert_close(with_padding[1, :3], without[0])
        assert (with_padding[1, 3:] == 0).all()


def test_where_the_sequence_is_cut_the_value_of_what_comes_after_counts_and_no_advantage_does() -> None:
    reward, value = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 0.25]])
    ended, after = torch.tensor([[False, True, True]]), torch.tensor([[9.0, 4.0, 0.0]])
    advantages, _ = generalised_advantages(
        reward, value, ALL, discount=0.9, gae_lambda=0.5, ended=ended, value_after=after
    )
    second = 0.0 + 0.9 * 4.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.45 * second
    torch.testing.assert_close(advantages, torch.tensor([[first, second, 2.0 - 0.25]]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "counted"),
    [(1.5, 2.0, 1.2 * 2.0), (0.5, 2.0, 0.5 * 2.0), (1.5, -2.0, 1.5 * -2.0), (0.5, -2.0, 0.8 * -2.0), (1.1, 3.0, 3.3)],
)
def test_the_surrogate_counts_no_gain_beyond_the_clip_and_every_loss(
    ratio: float, advantage: float, counted: float
) -> None:
    one = torch.ones(1, 1, dtype=torch.bool)
    log_prob = torch.tensor([[-1.0]]) + torch.tensor(ratio).log()
    surrogate = clipped_surrogate(log_prob, torch.tensor([[-1.0]]), torch.tensor([[advantage]]), one, 0.2)
    assert surrogate.item() == pytest.approx(counted, rel=1e-5)


def test_steps_or_tasks_count_alike_and_padding_not() -> None:
    values = torch.tensor([[1.0, 3.0, 1e9], [10.0, 1e9, 1e9], [1e9, 1e9, 1e9]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert mean_of_steps(values, mask).item() == pytest.approx(14 / 3)
    assert mean_of_tasks(values, mask).item() == 6.0
    assert mean_of_steps(values[2:], mask[2:]).item() == mean_of_tasks(values[2:], mask[2:]).item() == 0.0


def test_advantages_are_standardised_together_or_task_by_task() -> None:
    values = torch.tensor([[1.0, 3.0, 1e9], [-500.0, 0.0, 500.0], [7.0, 1e9, 1e9]])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    by_hand = torch.tensor([[-1.0, 1.0, 0.0], [-(1.5**0.5), 0.0, 1.5**0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(standardised(values, mask, by_task=True), by_hand)
    together = standardised(values, mask, by_task=False)
    torch.testing.assert_close(together[mask], (values[mask] - values[mask].mean()) / values[mask].std(correction=0))
    assert (together[~mask] == 0.0).all()


def test_what_overflows_in_padding_reaches_no_gradient() -> None:
    log_prob = torch.tensor([[0.0, 100.0]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    surrogate = clipped_surrogate(log_prob, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), mask, 0.2)
    mean_of_steps(-surrogate, mask).backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [[-1.0, 0.0]]
