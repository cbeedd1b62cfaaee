"""YAML as settings need it: mappings, lists, texts, numbers, true, false and null, each written out once.

A settings file may come from a stranger. What settings have no use for is refused, for it is how a small file takes a
large memory or means something else than it seems to: aliases, merges, tags, repeated keys, deep nesting.
"""

import re
from collections.abc import Hashable
from typing import Any, NoReturn

import yaml

from encoders.abbreviation import abbreviated, shortened
from encoders.settings import INTEGERS
from pearl.files.json_reading import LONGEST_NUMBER

MOST_BYTES = 100_000
"""Size of the largest settings file"""
MOST_LEVELS = 20
"""Levels of mappings and lists in each other, at most"""
_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_TAG}int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    f"{_TAG}float": re.compile(r"[-+]?(?:\d[\d_]*\.[\d_]*|\.\d+)(?:e[-+]?\d+)?$|[-+]?\.(?:inf|nan)$", re.IGNORECASE),
}
"""How numbers are written: in the decimal system alone"""


class YAMLError(ValueError):
    """A text is no YAML, or YAML that settings have no use for."""


def parse_yaml(text: str, source: str) -> Any:
    """Read YAML text as plain data; None where it is empty.

    Args:
        text: one document.
        source: names the text in errors.

    Raises:
        YAMLError: the text is too large, no valid YAML, or holds what settings have no use for. The message names
            ``source`` and the line.
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
    # Without dates, a value such as 2020-99-99 is a text like any other. So are 010 and 1:30, which PyYAML reads as
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
            _refuse(event.start_mark, f"values lie more than {MOST_LEVELS} levels deep. Settings need no more than 5.")
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
                    f"the key {abbreviated(key)} stands in line {lines[key]} already. Keep one of the two.",
                )
            if isinstance(key, Hashable):
                lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = self._number(node, super().construct_yaml_int)
        if not -INTEGERS <= number < INTEGERS:
            _refuse(node.start_mark, f"{shortened(node.value, 30)} is beyond the whole numbers of 64 bits.")
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
