"""Checks of the names and factories that users register."""

import inspect
import re
from collections.abc import Callable, Container, Sequence

from encoders.abbreviation import abbreviated


def check_new_name(name: object, taken: Container[str], kind: str) -> None:
    """Check that ``name`` can be registered: it becomes part of commands, files and checkpoints.

    Args:
        name: the name to register.
        taken: the registered names.
        kind: noun for the error message, such as "encoder".

    Raises:
        ValueError: the name is taken, or is not a word of letters, digits, ``_`` and ``-``.
    """
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name) is None:
        raise ValueError(f"The name of an {kind} must be a word of letters, digits, _ and -, got {abbreviated(name)}.")
    if name in taken:
        raise ValueError(f"An {kind} named {name!r} is registered already; choose another name.")


def check_signature(function: Callable[..., object], arguments: Sequence[str], whose: str) -> None:
    """Check that ``function`` can be called with the given positional arguments.

    Args:
        function: the function to check.
        arguments: names of the positional arguments.
        whose: start of the error message, such as "The factory of the encoder 'mine'".

    Raises:
        TypeError: the function does not accept these arguments.
    """
    wanted = f"{whose} must be callable as factory({', '.join(arguments)})"
    if not callable(function):
        raise TypeError(f"{wanted}, got {abbreviated(function)}.")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{wanted}, got {abbreviated(function)}: {error}.") from None
