import math

import pytest
import torch
from torch import Tensor

from agents.losses import actor_loss, critic_loss, soft_bellman_target, soft_value, temperature_loss

# (critic, task, step): two critics, two tasks of one step; the smaller value counts.
NEXT_Q = torch.tensor([[[2.0], [7.0]], [[3.0], [5.0]]])
REWARD = torch.tensor([[1.0], [-1.0]])
NEXT_LOG_PROB = torch.tensor([[0.5], [-2.0]])


def target(terminated: list[float], temperature: float = 0.2, discount: float = 0.9) -> Tensor:
    ended = torch.tensor(terminated).unsqueeze(1)
    next_value = soft_value(NEXT_Q, NEXT_LOG_PROB, torch.tensor(temperature))
    return soft_bellman_target(REWARD, ended, next_value, discount)


def test_the_soft_value_equals_the_numbers_worked_out_by_hand() -> None:
    found = soft_value(NEXT_Q, NEXT_LOG_PROB, torch.tensor(0.2))
    torch.testing.assert_close(found, torch.tensor([[2.0 - 0.2 * 0.5], [5.0 + 0.2 * 2.0]]))


def test_the_soft_bellman_target_equals_the_numbers_worked_out_by_hand() -> None:
    expected = [[1.0 + 0.9 * (2.0 - 0.2 * 0.5)], [-1.0 + 0.9 * (5.0 + 0.2 * 2.0)]]
    torch.testing.assert_close(target([0.0, 0.0]), torch.tensor(expected))


def test_a_termination_cuts_the_bootstrap_of_its_own_task_only() -> None:
    torch.testing.assert_close(target([1.0, 0.0]), torch.tensor([[1.0], [-1.0 + 0.9 * 5.4]]))


def test_a_terminal_value_does_not_reach_the_target() -> None:
    ended = soft_bellman_target(REWARD, torch.ones(2, 1), torch.tensor([[2e6], [-5e6]]), 0.9)
    assert torch.equal(ended, REWARD)


def test_without_discount_or_temperature_the_target_is_the_reward_or_the_hard_value() -> None:
    assert torch.equal(target([0.0, 0.0], discount=0.0), REWARD)
    torch.testing.assert_close(target([0.0, 0.0], temperature=0.0), torch.tensor([[1.0 + 1.8], [-1.0 + 4.5]]))


def test_the_critic_loss_sums_over_critics_and_averages_over_tasks_and_steps() -> None:
    q = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    goal = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    loss = critic_loss(q, goal)
    first, second = (0.0 + 4.0 + 9.0 + 4.0) / 4, (1.0 + 0.0 + 0.0 + 4.0) / 4
    assert loss.item() == pytest.approx(0.5 * (first + second))
    loss.backward()
    torch.testing.assert_close(q.grad, (q - goal).detach() / 4)


def test_the_critic_loss_of_a_batch_twice_over_is_that_of_the_batch() -> None:
    q, goal = torch.randn(2, 3, 4), torch.randn(3, 4)
    torch.testing.assert_close(critic_loss(q.repeat(1, 2, 1), goal.repeat(2, 1)), critic_loss(q, goal))


def test_the_actor_loss_equals_the_number_worked_out_by_hand() -> None:
    loss = actor_loss(soft_value(NEXT_Q, NEXT_LOG_PROB, torch.tensor(0.2)))
    assert loss.item() == pytest.approx(((0.2 * 0.5 - 2.0) + (0.2 * -2.0 - 5.0)) / 2)


def test_only_the_smallest_critic_pulls_the_actor() -> None:
    q = NEXT_Q.clone().requires_grad_()
    actor_loss(soft_value(q, NEXT_LOG_PROB, torch.tensor(0.2))).backward()
    torch.testing.assert_close(q.grad, torch.tensor([[[-0.5], [0.0]], [[0.0], [-0.5]]]))


def test_the_temperature_pulls_the_actor_to_lower_log_probabilities() -> None:
    log_prob = NEXT_LOG_PROB.clone().requires_grad_()
    actor_loss(soft_value(NEXT_Q, log_prob, torch.tensor(0.2))).backward()
    torch.testing.assert_close(log_prob.grad, torch.tensor([[0.1], [0.1]]))


@pytest.mark.parametrize(("entropy", "sign"), [(1.0, 1.0), (-3.0, -1.0)])
def test_the_temperature_falls_while_the_entropy_is_over_its_target_and_rises_under_it(
    entropy: float, sign: float
) -> None:
    log_temperature = torch.tensor(math.log(0.3), requires_grad=True)
    loss = temperature_loss(log_temperature, torch.full((2, 3), entropy), target_entropy=-2.0)
    assert loss.item() == pytest.approx(0.3 * (entropy + 2.0))
    loss.backward()
    assert log_temperature.grad is not None
    assert log_temperature.grad.item() == pytest.approx(0.3 * (entropy + 2.0))
    assert math.copysign(1.0, log_temperature.grad.item()) == sign


def test_at_the_target_entropy_the_temperature_rests() -> None:
    log_temperature = torch.tensor(0.7, requires_grad=True)
    temperature_loss(log_temperature, torch.full((2, 3), -2.0), target_entropy=-2.0).backward()
    assert log_temperature.grad == 0.0
