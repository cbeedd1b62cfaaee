"""Random generators as JSON, so that a resumed run draws the same numbers as an uninterrupted one."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import torch

from encoders.abbreviation import abbreviated, shortened


def random_state_to_json(generator: torch.Generator) -> dict[str, Any]:
    """Return a generator's state as plain JSON."""
    state = base64.b64encode(generator.get_state().numpy().tobytes()).decode()
    return {"generator": "torch", "device": generator.device.type, "state": state}


def restore_random_state(generator: torch.Generator, state: Mapping[str, Any], name: str = "the random state") -> None:
    """Restore a generator's state.

    Args:
        generator: the generator to change.
        state: the result of ``random_state_to_json``; it may be untrusted.
        name: name of the state, for errors.

    Raises:
        ValueError: the state is damaged, or of another kind of generator or device; the generator is unchanged.
    """
    if not isinstance(state, Mapping) or state.get("generator") != "torch":
        given = state.get("generator") if isinstance(state, Mapping) else state
        raise ValueError(
            f"{name} describes {abbreviated(given)}, expected a torch generator. "
            "Give the result of random_state_to_json for the same generator."
        )
    if state.get("device") != generator.device.type:
        raise ValueError(
            f"{name} is of a generator on {abbreviated(state.get('device'))}; this one is on "
            f"{generator.device.type!r}, which draws other numbers. Resume on the device that the run began on."
        )
    try:
        content = base64.b64decode(state["state"], validate=True)
        tried = torch.Generator(generator.device)
        tried.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        restored = tried.get_state()
        # A state may hold the second number of a drawn pair; the first draw of either precision reveals a bad one.
        for dtype in (torch.float32, torch.float64):
            tried.set_state(restored)
            if not bool(torch.randn(1, generator=tried, dtype=dtype, device=generator.device).abs() < 40):
                raise ValueError("it draws a number that is impossible for a standard normal distribution")
        generator.set_state(restored)
    except (KeyError, TypeError, ValueError, RuntimeError, binascii.Error) as error:
        raise ValueError(
            f"{name} is damaged: {shortened(str(error), 200)}. Give the unchanged result of random_state_to_json."
        ) from error
