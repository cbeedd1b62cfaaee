"""Random generators as JSON, so that a resumed run draws the numbers that an unbroken one would have drawn."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937)
}


def random_state_to_json(generator: np.random.Generator | torch.Generator) -> dict[str, Any]:
    """Describe where a generator stands, as plain JSON.

    A NumPy generator's description includes its seed sequence, which decides what `spawn` gives.
    """
    if isinstance(generator, torch.Generator):
        state = base64.b64encode(generator.get_state().numpy().tobytes()).decode()
        return {"generator": "torch", "device": generator.device.type, "state": state}
    seed = generator.bit_generator.seed_seq
    if not isinstance(seed, np.random.SeedSequence):
        raise ValueError(
            f"this generator's seed sequence is {type(seed).__name__}, which cannot be described as JSON. "
            "Make the generator with numpy.random.default_rng(seed) or by spawning from one that is."
        )
    return {
        "generator": "numpy",
        "state": _to_json(dict(generator.bit_generator.state)),
        "seed_sequence": _to_json(dict(seed.state)),
    }


def numpy_generator_from_json(state: Mapping[str, Any]) -> np.random.Generator:
    """A new generator that draws, and spawns, exactly what the described one would have.

    Raises:
        ValueError: the description is not one of a NumPy generator, or is damaged.
    """
    _check_kind(state, "numpy")
    try:
        if state["seed_sequence"]["entropy"] is None:
            raise ValueError("no entropy, for which NumPy would take a random one")
        seed = np.random.SeedSequence(**state["seed_sequence"])
        kind = _BIT_GENERATORS[state["state"]["bit_generator"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"its seed sequence or bit generator is not understood ({error!r})") from error
    generator = np.random.Generator(kind(seed))
    _set_numpy_state(generator, state)
    return generator


def restore_random_state(generator: np.random.Generator | torch.Generator, state: Mapping[str, Any]) -> None:
    """Bring a generator to where the described one stood.

    For a NumPy generator from another seed use `numpy_generator_from_json`: what a generator spawns follows from its
    seed, which cannot be changed in place.

    Raises:
        ValueError: the description is damaged, or one of another kind, device or seed; the generator is unchanged.
    """
    if isinstance(generator, torch.Generator):
        _restore_torch(generator, state)
    else:
        _restore_numpy(generator, state)


def _restore_torch(generator: torch.Generator, state: Mapping[str, Any]) -> None:
    _check_kind(state, "torch")
    if state.get("device") != generator.device.type:
        raise ValueError(
            f"the random state is one of a generator on {state.get('device')!r}; this one is on "
            f"{generator.device.type!r}, which draws other numbers. Resume on the device that the run began on."
        )
    try:
        content = base64.b64decode(state["state"], validate=True)
        generator.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    except (KeyError, TypeError, ValueError, RuntimeError, binascii.Error) as error:
        raise _damaged(str(error)) from error


def _restore_numpy(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    described = numpy_generator_from_json(state)
    if type(described.bit_generator) is not type(generator.bit_generator):
        raise ValueError(
            f"the random state is one of {type(described.bit_generator).__name__}; this generator is a "
            f"{type(generator.bit_generator).__name__}. Make it as it was made in the run that was saved."
        )
    saved, current = _seed_state(described), _seed_state(generator)
    missing_spawns = saved.pop("n_children_spawned") - current.pop("n_children_spawned")
    if saved != current or missing_spawns < 0:
        raise ValueError(
            "the random state is one of a generator from another seed, or from an earlier moment than this one's last "
            "spawn: what it spawns cannot be continued in place. Use numpy_generator_from_json to make a new one."
        )
    generator.bit_generator.state = described.bit_generator.state
    generator.bit_generator.spawn(missing_spawns)


def _seed_state(generator: np.random.Generator) -> dict[str, Any]:
    seed = generator.bit_generator.seed_seq
    return _to_json(dict(seed.state)) if isinstance(seed, np.random.SeedSequence) else {"n_children_spawned": 0}


def _set_numpy_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    try:
        restored = _shaped_like(generator.bit_generator.state, state["state"], "state")
        generator.bit_generator.state = restored
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(str(error)) from error


def _shaped_like(template: Any, value: Any, path: str) -> Any:
    """The value with lists turned back into the template's arrays, checked to be of the template's form."""
    if isinstance(template, Mapping):
        if not isinstance(value, Mapping) or value.keys() != template.keys():
            raise ValueError(f"{path} lacks one of {sorted(template)}, or holds more")
        return {key: _shaped_like(template[key], value[key], f"{path}.{key}") for key in template}
    if isinstance(template, np.ndarray):
        if not isinstance(value, list) or len(value) != len(template) or not all(type(item) is int for item in value):
            raise ValueError(f"{path} is not a list of {len(template)} whole numbers")
        return np.array(value, dtype=template.dtype)
    if type(value) is not type(template):
        raise ValueError(f"{path} is {value!r}, where {type(template).__name__} belongs")
    return value


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def _check_kind(state: Mapping[str, Any], kind: str) -> None:
    if not isinstance(state, Mapping) or state.get("generator") != kind:
        given = state.get("generator") if isinstance(state, Mapping) else state
        raise ValueError(
            f"the random state describes {given!r}, where one of a {kind} generator belongs. "
            "Give what random_state_to_json made of the same generator."
        )


def _damaged(finding: str) -> ValueError:
    return ValueError(f"the random state is damaged: {finding}. Give what random_state_to_json made, unchanged.")
