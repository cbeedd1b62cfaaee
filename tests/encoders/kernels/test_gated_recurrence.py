"""The recurrent unit's own steps and gradients are PyTorch's."""

import pytest
import torch
from torch import Tensor, nn

from encoders import GatedRecurrentUnit

INPUT, WIDTH = 3, 5


def units(dtype: torch.dtype = torch.float32) -> tuple[GatedRecurrentUnit, nn.GRU]:
    """The unit and PyTorch's, with the same weights."""
    torch.manual_seed(0)
    own = GatedRecurrentUnit(INPUT, WIDTH).to(dtype)
    reference = nn.GRU(INPUT, WIDTH, batch_first=True, dtype=dtype)
    reference.load_state_dict(own.state_dict())
    return own, reference


def given(tasks: int, steps: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    inputs = scale * torch.randn(tasks, steps, INPUT, generator=rng, dtype=dtype)
    hidden = scale * torch.randn(1, tasks, WIDTH, generator=rng, dtype=dtype)
    return inputs.requires_grad_(), hidden.requires_grad_()


def learnt(unit: nn.GRU, inputs: Tensor, hidden: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What a unit gives, and the gradients of a loss that reads all of it."""
    states, last = unit(inputs, hidden)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(2), dtype=states.dtype)
    loss = (states * weights).sum() + last.square().sum()
    return [states, last], list(torch.autograd.grad(loss, [*unit.parameters(), inputs, hidden]))


@pytest.mark.parametrize(("tasks", "steps"), [(1, 1), (1, 9), (4, 1), (4, 9)])
def test_states_and_gradients_are_those_of_pytorch(tasks: int, steps: int) -> None:
    own, reference = units(torch.float64)
    inputs, hidden = given(tasks, steps, dtype=torch.float64)
    for found, expected in zip(learnt(own, inputs, hidden), learnt(reference, inputs, hidden), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_they_are_in_single_precision_too() -> None:
    own, reference = units()
    inputs, hidden = given(4, 50)
    for found, expected in zip(learnt(own, inputs, hidden), learnt(reference, inputs, hidden), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gates_that_are_all_open_or_shut_give_finite_gradients() -> None:
    own, _ = units()
    _, gradients = learnt(own, *given(4, 9, scale=1e4))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_without_a_gradient_it_gives_the_same_states() -> None:
    own, _ = units(torch.float64)
    inputs, hidden = given(4, 9, dtype=torch.float64)
    with torch.no_grad():
        found = own(inputs, hidden)
    torch.testing.assert_close(found, own(inputs, hidden), rtol=1e-10, atol=1e-10)


def test_under_autocast_it_is_pytorchs() -> None:
    own, reference = units()
    inputs, hidden = given(4, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = own(inputs, hidden), reference(inputs, hidden)
    torch.testing.assert_close(found, expected)


def test_learning_leaves_what_was_given_as_it_was() -> None:
    own, _ = units()
    inputs, hidden = given(4, 9)
    before = [
        inputs.detach().clone(),
        hidden.detach().clone(),
        *(weight.detach().clone() for weight in own.parameters()),
    ]
    learnt(own, inputs, hidden)
    for now, then in zip((inputs, hidden, *own.parameters()), before, strict=True):
        assert torch.equal(now, then)


def test_a_gradient_that_is_asked_for_again_is_the_same() -> None:
    own, _ = units()
    inputs, hidden = given(4, 9)
    states, _ = own(inputs, hidden)
    first, second = (torch.autograd.grad(states.sum(), [inputs, hidden], retain_graph=True) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
