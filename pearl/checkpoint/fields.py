"""Checked access to the fields of an untrusted document."""

import math
from collections.abc import Mapping
from typing import Any

from encoders.abbreviation import abbreviated
from encoders.settings import INTEGERS


class FieldError(ValueError):
    """A field is missing or invalid; the message names it."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(f"{name} is {abbreviated(value)}, expected {wanted}")


class MissingFieldError(FieldError):
    """A field is missing."""

    def __init__(self, name: str) -> None:
        ValueError.__init__(self, f"{name} is missing")


def whole_number(document: Mapping[str, Any], name: str, within: str = "", *, least: int = 0) -> int:
    """Return ``document[name]``, a whole number of 64 bits.

    Args:
        document: the mapping that holds the field.
        name: the field's name.
        within: the document's name and a dot, for errors; empty for the outermost document.
        least: smallest valid number.

    Raises:
        FieldError: the field is missing or not such a number.
    """
    value = _field(document, name, within)
    if type(value) is not int or not least <= value < INTEGERS:
        raise FieldError(within + name, value, f"a whole number of 64 bits from {least}")
    return value


def finite_number(document: Mapping[str, Any], name: str, within: str = "", *, most: float = math.inf) -> float:
    """Return ``document[name]``, a finite number from 0 to ``most``; arguments as for ``whole_number``.

    Raises:
        FieldError: the field is missing or not such a number.
    """
    value = _field(document, name, within)
    limits = "from 0" if most == math.inf else f"from 0 to {most:g}"
    if type(value) not in (int, float) or not 0 <= value <= most or value == math.inf:
        raise FieldError(within + name, value, f"a finite number {limits}")
    return float(value)


def text(document: Mapping[str, Any], name: str, within: str = "") -> str:
    """Return ``document[name]``, a text; arguments as for ``whole_number``.

    Raises:
        FieldError: the field is missing or not a text.
    """
    found: str = _of_kind(str, "a text", document, name, within)
    return found


def mapping(document: Mapping[str, Any], name: str, within: str = "") -> Mapping[str, Any]:
    """Return ``document[name]``, a mapping; arguments as for ``whole_number``.

    Raises:
        FieldError: the field is missing or not a mapping.
    """
    found: Mapping[str, Any] = _of_kind(Mapping, "a mapping", document, name, within)
    return found


def sequence(document: Mapping[str, Any], name: str, within: str = "") -> list[Any]:
    """Return ``document[name]``, a list; arguments as for ``whole_number``.

    Raises:
        FieldError: the field is missing or not a list.
    """
    found: list[Any] = _of_kind(list, "a list", document, name, within)
    return found


def _field(document: Mapping[str, Any], name: str, within: str) -> Any:
    if name not in document:
        raise MissingFieldError(within + name)
    return document[name]


def _of_kind(kind: type, wanted: str, document: Mapping[str, Any], name: str, within: str) -> Any:
    value = _field(document, name, within)
    if not isinstance(value, kind):
        raise FieldError(within + name, value, wanted)
    return value
