"""A value of any size is shown in an error in a line, and costs no more than that."""

from typing import Any

import numpy as np
import pytest

from encoders.abbreviation import LONGEST, abbreviated, shortened


@pytest.mark.parametrize("value", [1, -2.5, "text", None, True, [1, 2], (1,), {"a": [1.5, "b"]}, float("nan"), [[[1]]]])
def test_a_short_value_is_shown_as_it_is(value):
    assert abbreviated(value) == repr(value)


def nested(depth):
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def bomb():
    value = ["x"] * 9
    for _ in range(9):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 10**7, id="text"),
        pytest.param(list(range(10**6)), id="list"),
        pytest.param({n: n for n in range(10**5)}, id="mapping"),
        pytest.param(10**5_000, id="digits"),
        pytest.param(nested(10**4), id="depth"),
        pytest.param(bomb(), id="bomb"),
        pytest.param(np.zeros(10**6), id="array"),
    ],
)
def test_a_large_value_is_cut(value):
    assert len(abbreviated(value)) <= LONGEST


def test_a_text_is_cut_at_its_end():
    assert shortened("abcdefgh", 8) == "abcdefgh"
    assert shortened("abcdefghi", 8) == "abcde..."
