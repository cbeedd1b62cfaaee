"""Task families by name."""

import difflib
import importlib
import sys
from collections.abc import Callable

from pearl.tasks.distribution import TaskDistribution

_FAMILIES: dict[str, tuple[Callable[[], TaskDistribution], str]] = {}


def register(name: str, factory: Callable[[], TaskDistribution], description: str) -> None:
    """Make a family available by name.

    Args:
        name: the family's name, as given to ``pearl.PEARL`` and on the command line.
        factory: builds the distribution.
        description: one line for listings.

    Raises:
        ValueError: the name is taken.
    """
    if name in _FAMILIES:
        raise ValueError(f"A family named {name!r} is registered already; choose another name.")
    _FAMILIES[name] = (factory, description)


def make(name: str) -> TaskDistribution:
    """Build the family registered under ``name``.

    Raises:
        KeyError: no such family; the message names the nearest ones.
    """
    if name not in _FAMILIES:
        raise UnknownFamilyError(name)
    distribution = _FAMILIES[name][0]()
    distribution.name = name
    return distribution


def find(name: str) -> TaskDistribution:
    """Build a family from its registered name, or a user's own from ``module:Class``.

    Args:
        name: a registered name, or an importable module and a TaskDistribution class in it that takes no arguments.

    Raises:
        UnknownFamilyError: no such family, module or class, or the class is no TaskDistribution.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        return make(name)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0] and error.name != module_name:
            raise
        raise UnknownFamilyError(
            name, f"There is no module {module_name!r} in {', '.join(sys.path[:3])} or among the installed ones."
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, TaskDistribution)):
        own = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, TaskDistribution) and value is not TaskDistribution
        ]
        raise UnknownFamilyError(
            name,
            f"{module_name} has no TaskDistribution class {class_name!r}; it has {', '.join(own) or 'none'}.",
        )
    return found()


def families() -> dict[str, str]:
    """Return every registered family's name and its one-line description, sorted by name."""
    return {name: _FAMILIES[name][1] for name in sorted(_FAMILIES)}


class UnknownFamilyError(KeyError):
    """No family of this name is registered."""

    def __init__(self, name: str, reason: str | None = None) -> None:
        if reason is not None:
            super().__init__(f"Unknown family {name!r}. {reason}")
            return
        near = difflib.get_close_matches(name, _FAMILIES, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
        super().__init__(f"Unknown family {name!r}. {hint}Known families: {', '.join(sorted(_FAMILIES))}.")

    def __str__(self) -> str:
        return str(self.args[0])
