"""Fields of a document from a stranger, each read and checked as a given type."""

import math
from collections.abc import Mapping
from typing import Any

from encoders.abbreviation import abbreviated
from encoders.settings import INTEGERS


class FieldError(ValueError):
    """A field is missing, or is something else than it has to be; the message names it."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(f"{name} is {abbreviated(value)}, where {wanted} belongs")


class MissingFieldError(FieldError):
    """A field is missing."""

    def __init__(self, name: str) -> None:
        ValueError.__init__(self, f"{name} is missing")


def whole_number(document: Mapping[str, Any], name: str, within: str = "", *, least: int = 0) -> int:
    """Return ``document[name]``, a whole number of 64 bits.

    Args:
        document: holds the field.
        name: the field's.
        within: names the document in errors, with a dot; empty for the outermost.
        least: the smallest number that the field may be.

    Raises:
        FieldError: it is missing or no such number.
    """
    value = _field(document, name, within)
    if type(value) is not int or not least <= value < INTEGERS:
        raise FieldError(within + name, value, f"a whole number of 64 bits from {least}")
    return value


def finite_number(document: Mapping[str, Any], name: str, within: str = "", *, most: float = math.inf) -> float:
    """Return ``document[name]``, a finite number from 0 to ``most``; arguments as for ``whole_number``.

    Raises:
        FieldError: it is missing or no such number.
    """
    value = _field(document, name, within)
    limits = "from 0" if most == math.inf else f"from 0 to {most:g}"
    if type(value) not in (int, float) or not 0 <= value <= most or value == math.inf:
        raise FieldError(within + name, value, f"a finite number {limits}")
    return float(value)


def text(document: Mapping[str, Any], name: str, within: str = "") -> str:
    """Return ``document[name]``, a text; arguments as for ``whole_number``.

    Raises:
        FieldError: it is missing or no text.
    """
    found: str = _of_kind(str, "a text", document, name, within)
    return found


def mapping(document: Mapping[str, Any], name: str, within: str = "") -> Mapping[str, Any]:
    """Return ``document[name]``, a mapping; arguments as for ``whole_number``.

    Raises:
        FieldError: it is missing or no mapping.
    """
    found: Mapping[str, Any] = _of_kind(Mapping, "a mapping", document, name, within)
    return found


def sequence(document: Mapping[str, Any], name: str, within: str = "") -> list[Any]:
    """Return ``document[name]``, a list; arguments as for ``whole_number``.

    Raises:
        FieldError: it is missing or no list.
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
