"""Strict reading of untrusted JSON: bounded size and depth, no repeated keys, finite numbers only."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from encoders.abbreviation import abbreviated, shortened
from pearl.files.access import read_bytes

MOST_BYTES = 64 * 2**20
"""Maximum size of a JSON document, in bytes"""
MOST_LEVELS = 50
"""Maximum nesting depth of objects and lists"""
LONGEST_NUMBER = 100
"""Maximum length of a number, in characters"""


def read_json_file(path: Path) -> Any:
    """Read a JSON file by ``parse_json``.

    Raises:
        OSError: the file cannot be read, or is too large.
        ValueError: as from ``parse_json``.
    """
    return parse_json(read_bytes(path, MOST_BYTES))


def parse_json(content: bytes) -> Any:
    """Parse JSON strictly.

    Raises:
        ValueError: the content is too large, not UTF-8, not JSON or nested too deeply, repeats a key of an object, or
            holds a number that is not finite or is longer than 100 characters.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes are too large for a JSON document")
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except RecursionError:
        _refuse_depth()
    check_depth(value)
    return value


def check_depth(value: object) -> None:
    """Check that nested dicts, lists and tuples are no deeper than ``parse_json`` accepts.

    Raises:
        ValueError: the value is nested too deeply.
    """
    containers, levels = _containers([value]), 0
    while containers:
        levels += 1
        if levels > MOST_LEVELS:
            _refuse_depth()
        containers = [
            inner
            for container in containers
            for inner in _containers(container.values() if isinstance(container, dict) else container)
        ]


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list | tuple)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {abbreviated(key)} appears twice in one object")
            seen.add(key)
    return found


def _float(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(number):
        raise ValueError(f"{shortened(text, 30)} is no finite number of at most {LONGEST_NUMBER} characters")
    return number


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a whole number has {len(text):,} characters, more than {LONGEST_NUMBER}")
    return int(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that JSON knows")


def _refuse_depth() -> NoReturn:
    raise ValueError(f"values are nested more than {MOST_LEVELS} levels deep")
