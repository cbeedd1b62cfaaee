"""Strict reading of untrusted YAML: mappings, lists, strings, numbers, true, false and null.

A settings file may come from a stranger. Aliases, merges, tags, repeated keys and deep nesting are refused: by them a
small file could take much memory or hide its meaning, and settings do not need them.
"""

import re
from collections.abc import Hashable
from typing import Any, NoReturn

import yaml

from encoders.abbreviation import abbreviated, shortened
from encoders.settings import INTEGERS
from pearl.files.json_reading import LONGEST_NUMBER

MOST_BYTES = 100_000
"""Maximum size of a settings file, in bytes"""
MOST_LEVELS = 20
"""Maximum nesting depth of mappings and lists"""
_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_TAG}int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    f"{_TAG}float": re.compile(r"[-+]?(?:\d[\d_]*\.[\d_]*|\.\d+)(?:e[-+]?\d+)?$|[-+]?\.(?:inf|nan)$", re.IGNORECASE),
}
"""Patterns of numbers: decimal and hexadecimal integers, decimal floats"""


class YAMLError(ValueError):
    """A text is not YAML, or uses a feature of YAML that is refused here."""


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text into plain data; None if the text is empty.

    Args:
        text: one document.
        source: name of the text, for errors.

    Raises:
        YAMLError: the text is too large, is not valid YAML, or uses a refused feature. The message names ``source`` and
            the line.
    """
    if len(text) > MOST_BYTES:
        raise YAMLError(f"{source} is too large for a settings file, which has at most {MOST_BYTES:,} bytes.")
    try:
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except _Refusal as error:
        raise YAMLError(f"{source}, line {error.line}: {error}") from error
    except yaml.YAMLError as error:
        raise YAMLError(f"{source} is not valid YAML: {shortened(str(error), 300)}") from error


class _Refusal(Exception):
    def __init__(self, mark: Any, reason: str) -> None:
        super().__init__(reason)
        self.line = mark.line + 1


class _PlainLoader(yaml.SafeLoader):
    # There are no dates: a value such as 2020-99-99 is a string. So are 010 and 1:30, which PyYAML would read as
    # numbers to the base 8 and 60.
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own name)
        first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._levels = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            _refuse(
                event.start_mark, f"aliases (*{shortened(str(event.anchor), 30)}) are not read. Write the value out."
            )
        if getattr(event, "tag", None) is not None:
            _refuse(event.start_mark, f"tags ({shortened(event.tag, 30)}) are not read. Leave the tag out.")
        if self._levels == MOST_LEVELS:
            _refuse(
                event.start_mark, f"values are nested more than {MOST_LEVELS} levels deep; settings need at most 5."
            )
        self._levels += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._levels -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                _refuse(key_node.start_mark, "merges (<<) are not read. Write the settings out.")
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in lines:
                _refuse(
                    key_node.start_mark,
                    f"the key {abbreviated(key)} is already in line {lines[key]}. Keep one of the two.",
                )
            if isinstance(key, Hashable):
                lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = self._number(node, super().construct_yaml_int)
        if not -INTEGERS <= number < INTEGERS:
            _refuse(node.start_mark, f"{shortened(node.value, 30)} is outside the range of 64-bit integers.")
        return int(number)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return float(self._number(node, super().construct_yaml_float))

    def _number(self, node: yaml.ScalarNode, construct: Any) -> Any:
        if len(node.value) > LONGEST_NUMBER:
            _refuse(
                node.start_mark,
                f"a number of {len(node.value):,} characters ({shortened(node.value, 30)}) is not read. "
                f"Numbers have at most {LONGEST_NUMBER}.",
            )
        try:
            return construct(node)
        except (ValueError, OverflowError) as error:
            _refuse(node.start_mark, f"{shortened(node.value, 30)} is no number: {error}.")


_PlainLoader.add_constructor(f"{_TAG}int", _PlainLoader.construct_yaml_int)
_PlainLoader.add_constructor(f"{_TAG}float", _PlainLoader.construct_yaml_float)


def _refuse(mark: Any, reason: str) -> NoReturn:
    raise _Refusal(mark, reason)
