"""Closing gaps moves rows together and never past each other."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.sequence.gaps import without_gaps

masks = st.integers(0, 9).flatmap(
    lambda steps: st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=1, max_size=3)
)


@given(masks, st.booleans())
def test_what_is_there_stands_together_in_its_order_at_the_side_asked_for(
    drawn: list[list[bool]], newest_last: bool
) -> None:
    mask = torch.tensor(drawn, dtype=torch.bool)
    rows = torch.arange(mask.numel()).view(*mask.shape, 1)
    found, there = without_gaps(rows, mask, newest_last=newest_last)
    for task in range(len(mask)):
        expected = rows[task, mask[task], 0].tolist()
        padding = mask.shape[1] - len(expected)
        assert found[task, there[task], 0].tolist() == expected
        flags = [False] * padding + [True] * len(expected)
        assert there[task].tolist() == (flags if newest_last else flags[::-1])
