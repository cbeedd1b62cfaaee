"""Settings: dataclasses that convert their values to the annotated types of plain Python."""

import dataclasses
import difflib
import numbers
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from encoders.abbreviation import LONGEST, abbreviated, shortened

INTEGERS = 2**63
"""Exclusive limit on the magnitude of whole numbers"""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class UnregisteredError(ConfigError):
    """A name is registered neither by this library nor by a module of the user.

    Args:
        message: the error, with the given name and the registered names.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message} If a module of yours registers it, import that module first; the scripts do so with "
            "--import MODULE."
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class of config dataclasses: converts every value to its annotated type.

    NumPy numbers and arrays become Python numbers and tuples, so that every config can be written as JSON. A subclass
    checks ranges in its own ``__post_init__`` after calling this one.

    Raises:
        ConfigError: a value has the wrong type; the message names the setting.
    """

    section: ClassVar[str] = ""
    """Name of this section within a run's settings"""

    def __post_init__(self) -> None:
        for name, hint in setting_types(type(self)).items():
            path = f"{self.section}.{name}" if self.section else name
            object.__setattr__(self, name, converted(hint, getattr(self, name), path))


def setting_types(kind: type[Settings]) -> dict[str, Any]:
    """Return the annotated type of every setting, by name."""
    hints = typing.get_type_hints(kind)
    return {setting.name: hints[setting.name] for setting in dataclasses.fields(kind)}


def converted(hint: Any, value: object, name: str) -> Any:
    """Convert ``value`` to the annotated type. Numbers may be given as text, because YAML reads ``1e-3`` as text.

    Args:
        hint: bool, int, float, str, a Literal of strings, a tuple of any length, another config dataclass, or one of
            these or None. Any accepts every value.
        value: a value of plain Python, NumPy or PyTorch.
        name: name of the setting, for errors.

    Raises:
        ConfigError: the value has another type, or is a number that is not finite.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return converted(inner, value, name)
    plain: Any = value.tolist() if isinstance(value, np.generic | np.ndarray | Tensor) else value
    if origin is Literal:
        return chosen(arguments, plain, name)
    if origin is tuple and isinstance(plain, Sequence) and not isinstance(plain, str | bytes | bytearray):
        return tuple(converted(arguments[0], item, f"{name}[{index}]") for index, item in enumerate(plain))
    if hint in (bool, str) and isinstance(plain, hint):
        return plain
    if hint is int and _is_number(plain, numbers.Integral) and abs(int(plain)) < INTEGERS:
        return int(plain)
    if hint is float and (isinstance(plain, str) or _is_number(plain, numbers.Real)):
        try:
            number = float(plain)
        except (ValueError, OverflowError):
            number = float("nan")
        if number == number and abs(number) != float("inf"):
            return number
    if dataclasses.is_dataclass(hint) and type(value) is hint:
        return value
    wanted = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "a text",
        tuple: "a list",
    }.get(origin or hint)
    if wanted is None:
        wanted = f"a {hint.__name__}"
    elif hint is int and _is_number(plain, numbers.Integral):
        wanted = "a whole number of less than 64 bits"
    raise ConfigError(f"{name} must be {wanted}, got {abbreviated(value)} ({type(value).__name__}).")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def chosen(choices: Sequence[str], value: object, name: str) -> str:
    """Check that ``value`` is one of the choices and return it.

    Args:
        choices: the accepted values.
        value: the given value.
        name: name of the setting, for the error.

    Raises:
        ConfigError: the value is not a choice; the message suggests the nearest one.
    """
    for choice in choices:
        if isinstance(value, str) and value == choice:
            return choice
    near = difflib.get_close_matches(shortened(value, LONGEST), choices, n=1) if isinstance(value, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{name} must be one of {', '.join(map(repr, choices))}, got {abbreviated(value)}.{hint}")
