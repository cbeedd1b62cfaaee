"""The contrastive loss: by hand, its extremes, and tasks that lack a view."""

import math

import pytest
import torch

from encoders import info_nce

EVERY = torch.tensor([True, True])


def test_the_loss_of_two_tasks_by_hand():
    first = torch.tensor([[0.0], [2.0]])
    second = torch.tensor([[1.0], [2.0]])
    # Similarities -(m - m')^2 / 2: -1/2 and -2 for the first task, -1/2 and 0 for the second.
    losses = math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(-0.5))
    assert info_nce(first, second, EVERY).item() == pytest.approx(sum(losses) / 2)


def test_beliefs_that_are_all_alike_cost_the_entropy_of_a_blind_guess():
    alike = torch.zeros(8, 3)
    assert info_nce(alike, alike, torch.ones(8, dtype=torch.bool)).item() == pytest.approx(math.log(8))


def test_beliefs_far_apart_cost_nothing():
    apart = 20.0 * torch.eye(4)
    assert info_nce(apart, apart, torch.ones(4, dtype=torch.bool)).item() == pytest.approx(0.0, abs=1e-6)


def test_a_task_without_both_views_is_not_asked_for_but_can_be_confused_with():
    first, second = torch.tensor([[0.0], [9.0]]), torch.tensor([[1.0], [0.0]])
    only_first = info_nce(first, second, torch.tensor([True, False]))
    assert only_first.item() == pytest.approx(math.log(1 + math.exp(0.5)))
    assert info_nce(first, second, torch.tensor([False, False])).item() == 0.0
