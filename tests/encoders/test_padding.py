"""Padding of a context is neither computed nor felt."""

import pytest
import torch
from torch import Tensor

from encoders.types import where_present


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_only_rows_that_are_there_reach_the_function(share: float) -> None:
    rows = torch.arange(24.0).view(3, 4, 2)
    mask = torch.arange(12).view(3, 4) < 12 * share
    seen: list[Tensor] = []

    def double_first(values: Tensor) -> Tensor:
        seen.append(values)
        return 2 * values[:, :1] + 1

    found = where_present(double_first, rows, mask)
    assert found.shape == (3, 4, 1)
    assert torch.equal(found[mask], 2 * rows[mask][:, :1] + 1)
    assert (found[~mask] == 0).all()
    assert [len(values) for values in seen] == [int(mask.sum())]


def test_the_gradient_reaches_what_is_there_and_is_zero_elsewhere() -> None:
    rows = torch.ones(2, 3, 2, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    where_present(lambda values: 3 * values, rows, mask).sum().backward()
    assert torch.equal(rows.grad, 3.0 * mask.unsqueeze(-1).expand(2, 3, 2))
