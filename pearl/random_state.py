"""Random generators as JSON, so that a resumed run draws the numbers that an unbroken one would have drawn."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import torch


def random_state_to_json(generator: torch.Generator) -> dict[str, Any]:
    """Describe where a generator stands, as plain JSON."""
    state = base64.b64encode(generator.get_state().numpy().tobytes()).decode()
    return {"generator": "torch", "device": generator.device.type, "state": state}


def restore_random_state(generator: torch.Generator, state: Mapping[str, Any]) -> None:
    """Bring a generator to where the described one stood.

    Raises:
        ValueError: the description is damaged, or one of another kind or device; the generator is unchanged.
    """
    if not isinstance(state, Mapping) or state.get("generator") != "torch":
        given = state.get("generator") if isinstance(state, Mapping) else state
        raise ValueError(
            f"the random state describes {given!r}, where one of a torch generator belongs. "
            "Give what random_state_to_json made of the same generator."
        )
    if state.get("device") != generator.device.type:
        raise ValueError(
            f"the random state is one of a generator on {state.get('device')!r}; this one is on "
            f"{generator.device.type!r}, which draws other numbers. Resume on the device that the run began on."
        )
    try:
        content = base64.b64decode(state["state"], validate=True)
        generator.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    except (KeyError, TypeError, ValueError, RuntimeError, binascii.Error) as error:
        raise ValueError(
            f"the random state is damaged: {error}. Give what random_state_to_json made, unchanged."
        ) from error
