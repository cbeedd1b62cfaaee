"""Strict reading of settings from plain data, and writing of settings as plain data."""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from encoders.abbreviation import LONGEST, abbreviated, shortened
from encoders.settings import ConfigError, Settings, setting_types
from pearl.config.migration import MOVED
from pearl.files.access import read_text
from pearl.files.yaml_reading import MOST_BYTES, YAMLError, parse_yaml

__all__ = [
    "ConfigError",
    "from_mapping",
    "load_yaml",
    "non_default_settings",
    "read_yaml",
    "read_yaml_file",
    "to_mapping",
    "to_yaml",
]

SectionT = TypeVar("SectionT", bound=Settings)


def load_yaml(path: Path, base: SectionT) -> SectionT:
    """Read settings from a YAML file over ``base``.

    Raises:
        ConfigError: the file does not exist, is not a YAML mapping, or contains an invalid setting.
    """
    return _laid_over(read_yaml_file(path), str(path), base)


def read_yaml(text: str, source: str, base: SectionT) -> SectionT:
    """Read settings from YAML text over ``base``; ``source`` names the text in errors."""
    return _laid_over(_parsed(text, source), source, base)


def read_yaml_file(path: Path) -> Any:
    """Read a YAML file as plain data; None if it is empty.

    Raises:
        ConfigError: the file does not exist, or ``parse_yaml`` refuses its text.
    """
    try:
        text = read_text(path, MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"Cannot read the config file {path}: {error.strerror or error}.") from error
    return _parsed(text, str(path))


def _parsed(text: str, source: str) -> Any:
    try:
        return parse_yaml(text, source)
    except YAMLError as error:
        raise ConfigError(str(error)) from error


def _laid_over(data: Any, source: str, base: SectionT) -> SectionT:
    try:
        return from_mapping(type(base), {} if data is None else data, base)
    except ConfigError as error:
        raise ConfigError(f"In {source}: {shortened(str(error), 1000)}") from error


def to_mapping(config: Settings) -> dict[str, Any]:
    """Return a config dataclass as nested plain data that ``from_mapping`` reads back."""
    plain = dataclasses.asdict(config)
    return {key: _plain(value) for key, value in plain.items()}


def from_mapping(
    cls: type[SectionT], data: Mapping[str, Any], base: SectionT | None = None, path: str = ""
) -> SectionT:
    """Build a config dataclass from nested plain data; absent fields take ``base``'s value.

    Args:
        cls: the config dataclass.
        data: field names and values; mappings for nested configs.
        base: the config with the values of absent fields; the defaults if None.
        path: dotted name of this level, for errors.

    Raises:
        ConfigError: an unknown name (the message suggests the nearest), a wrong type, a value out of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'The config'} must be a mapping of settings, got {abbreviated(data)}.")
    hints = setting_types(cls)
    values: dict[str, Any] = {}
    for name, value in data.items():
        shown = shortened(name, LONGEST) if isinstance(name, str) else abbreviated(name)
        dotted = f"{path}.{shown}" if path else shown
        if name not in hints:
            present = MOVED.get(dotted)
            if present is not None and present.split(".")[1] in hints:
                raise ConfigError(f"Unknown setting {dotted!r}: {dotted} is now {present}.")
            near = difflib.get_close_matches(shown, hints, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"Unknown setting {dotted!r}. {hint}Settings here: {', '.join(hints)}.")
        if dataclasses.is_dataclass(hints[name]):
            inner = getattr(base, name) if base is not None else _default_of(cls, name)
            value = from_mapping(hints[name], value, inner, dotted)
        values[name] = value
    return dataclasses.replace(base, **values) if base is not None else cls(**values)


def _default_of(cls: type[Settings], name: str) -> Any:
    """Return the default of a section, which may differ from that of the section's class; None if there is none."""
    factory = next(field.default_factory for field in dataclasses.fields(cls) if field.name == name)
    return None if factory is dataclasses.MISSING else factory()


def non_default_settings(config: Settings) -> dict[str, Any]:
    """Return the settings that differ from the defaults, as plain data that ``from_mapping`` reads back."""
    return _differing(to_mapping(config), to_mapping(from_mapping(type(config), {})))


def to_yaml(config: Any) -> str:
    """Return a config as YAML text that ``read_yaml`` reads back."""
    return yaml.dump(_nested_last(to_mapping(config)), Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes mappings in block style and lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def _nested_last(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the nested sections of each section after its own settings."""
    nested = {name: _nested_last(value) for name, value in settings.items() if isinstance(value, Mapping)}
    return {name: value for name, value in settings.items() if name not in nested} | nested


def _differing(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of ``found`` that differ from ``defaults``, down to the last level."""
    differing: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, Mapping):
            value = _differing(value, defaults[name])
            if value:
                differing[name] = value
        elif value != defaults[name]:
            differing[name] = value
    return differing


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
