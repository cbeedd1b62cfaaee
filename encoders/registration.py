"""Checks of names and factories that users register."""

import inspect
import re
from collections.abc import Callable, Container, Sequence

from encoders.abbreviation import abbreviated


def check_new_name(name: object, taken: Container[str], what: str) -> None:
    """Check that ``name`` can be registered: it becomes a part of commands, files and checkpoints.

    Args:
        name: what was given.
        taken: the names that are registered.
        what: of which kind the named thing is, for the error.

    Raises:
        ValueError: it is taken, or no word of letters, digits, ``_`` and ``-``.
    """
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name) is None:
        raise ValueError(f"The name of an {what} must be a word of letters, digits, _ and -, got {abbreviated(name)}.")
    if name in taken:
        raise ValueError(f"An {what} named {name!r} is registered already; choose another name.")


def check_signature(function: Callable[..., object], arguments: Sequence[str], whose: str) -> None:
    """Check that ``function`` can be called with so many arguments.

    Args:
        function: what was given.
        arguments: what it will be called with, by position.
        whose: begins the error.

    Raises:
        TypeError: it cannot be called so.
    """
    wanted = f"{whose} must be callable as factory({', '.join(arguments)})"
    if not callable(function):
        raise TypeError(f"{wanted}, got {abbreviated(function)}.")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{wanted}, got {abbreviated(function)}: {error}.") from None
