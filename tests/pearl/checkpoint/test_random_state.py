"""Generators survive a JSON round trip, and nothing else is taken for one."""

import base64
import json
import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pearl.checkpoint.random_state import random_state_to_json, restore_random_state


def through_json(value):
    return json.loads(json.dumps(value))


@given(seed=st.integers(0, 2**63), drawn=st.integers(0, 2_000))
def test_a_restored_generator_draws_the_same_stream(seed, drawn):
    generator = torch.Generator().manual_seed(seed)
    torch.rand(drawn, generator=generator)
    torch.randn(3, generator=generator)
    state = through_json(random_state_to_json(generator))
    expected = torch.rand(5, generator=generator), torch.randn(3, generator=generator)
    other = torch.Generator().manual_seed(seed + 1)
    restore_random_state(other, state)
    assert torch.equal(torch.rand(5, generator=other), expected[0])
    assert torch.equal(torch.randn(3, generator=other), expected[1])


NAN, HUGE, ONE = struct.pack("<d", math.nan), struct.pack("<d", 1e300), struct.pack("<q", 1)


def overwritten(state, place, content):
    """The state with other bytes: at 8 the place in the sequence, at the end the second number of a pair."""
    decoded = bytearray(base64.b64decode(state))
    decoded[place : place + len(content)] = content
    return base64.b64encode(decoded).decode()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state | {"generator": "numpy"}, "describes 'numpy', expected a torch generator"),
        (lambda state: [state], "expected a torch generator"),
        (lambda state: state | {"device": "cuda"}, "is of a generator on 'cuda'; this one is on 'cpu'"),
        (lambda state: state | {"state": state["state"][:-8]}, "is damaged"),
        (lambda state: state | {"state": "no base64 !"}, "is damaged"),
        (lambda state: {key: state[key] for key in ("generator", "device")}, "is damaged"),
        (lambda state: state | {"state": ""}, "is damaged"),
        (lambda state: state | {"state": 3}, "is damaged"),
        (lambda state: state | {"state": ["AAAA"]}, "is damaged"),
        (lambda state: state | {"state": state["state"] * 50}, "is damaged"),
        (lambda state: state | {"state": "é" * 10**6}, "is damaged"),
        (lambda state: state | {"generator": "x" * 10**6}, r"describes 'x+\.\.\.x+'"),
        (lambda state: state | {"device": ["x" * 10**6]}, r"on \['x+\.\.\.x+"),
        (lambda state: state | {"state": overwritten(state["state"], 8, b"\xff" * 16)}, "is damaged"),
        (lambda state: state | {"state": overwritten(state["state"], 5024, NAN + bytes(8) + ONE)}, "is damaged"),
        (lambda state: state | {"state": overwritten(state["state"], 5024, HUGE + bytes(8) + ONE)}, "is damaged"),
    ],
)
def test_a_damaged_or_foreign_state_is_refused_and_changes_nothing(damage, message):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    with pytest.raises(ValueError, match=message) as caught:
        restore_random_state(generator, damage(random_state_to_json(generator)))
    assert len(str(caught.value)) < 500
    assert torch.equal(generator.get_state(), before)
