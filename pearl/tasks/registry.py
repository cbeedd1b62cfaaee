"""Task families by name."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from encoders.abbreviation import abbreviated
from pearl.tasks.distribution import TaskDistribution
from pearl.tasks.user_modules import UserModuleError, import_user_module, without_failure


class _Pattern(NamedTuple):
    factory: Callable[[str], TaskDistribution]
    members: frozenset[str]
    description: str
    example: str


_FAMILIES: dict[str, tuple[Callable[[], TaskDistribution], str]] = {}
_PATTERNS: dict[str, _Pattern] = {}


def register(name: str, factory: Callable[[], TaskDistribution], description: str) -> None:
    """Make a family available by name.

    Args:
        name: the family's name, as given to ``pearl.PEARL`` and on the command line.
        factory: builds the distribution.
        description: one line for listings.

    Raises:
        ValueError: the name is taken.
    """
    _check_free(name)
    _FAMILIES[name] = (factory, description)


def register_pattern(
    pattern: str,
    factory: Callable[[str], TaskDistribution],
    members: Sequence[str],
    description: str,
    *,
    example: str,
) -> None:
    """Make several families of one kind available by their names; listings show one line for all of them.

    Args:
        pattern: the name in listings, for example ``ml1-<task>-v3``; not the name of a family.
        factory: builds the distribution from a family's name.
        members: the families' names.
        description: one line for listings.
        example: the member whose preset is the default for members without a preset.

    Raises:
        ValueError: a name is taken, or the example is not a member.
    """
    for name in (pattern, *members):
        _check_free(name)
    if example not in members:
        raise ValueError(f"The example {example!r} must be one of the families of {pattern!r}.")
    _PATTERNS[pattern] = _Pattern(factory, frozenset(members), description, example)


def _check_free(name: str) -> None:
    if name in _FAMILIES or name in _PATTERNS or _pattern_of(name) is not None:
        raise ValueError(f"A family named {name!r} is registered already; choose another name.")


def _pattern_of(name: str) -> _Pattern | None:
    return next((pattern for pattern in _PATTERNS.values() if name in pattern.members), None)


def preset_sharer(name: str) -> str | None:
    """Return the family whose preset is the default for ``name``, or None if ``name`` belongs to no pattern."""
    pattern = _pattern_of(name)
    return None if pattern is None else pattern.example


def make(name: str) -> TaskDistribution:
    """Build the family registered under ``name``.

    Raises:
        UnknownFamilyError: no such family; the message names the nearest ones.
        TypeError: the registered factory does not return a task distribution.
    """
    pattern = _pattern_of(name)
    if name in _FAMILIES:
        distribution = _FAMILIES[name][0]()
    elif pattern is not None:
        distribution = pattern.factory(name)
    else:
        raise UnknownFamilyError(name)
    if not isinstance(distribution, TaskDistribution):
        raise TypeError(
            f"The factory registered as {name!r} must return a TaskDistribution, not {abbreviated(distribution)}."
        )
    distribution.name = name
    return distribution


def find(name: str) -> TaskDistribution:
    """Build a family from its registered name, or a user's own from ``module:Class``.

    Args:
        name: a registered name, or an importable module and a TaskDistribution class in it that takes no arguments.

    Raises:
        UnknownFamilyError: no such family, module or class; the module cannot be imported; the class is abstract, needs
            arguments, raises, or is no TaskDistribution.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        return make(name)
    try:
        module = import_user_module(module_name)
    except UserModuleError as error:
        remedy = " Write my_module:MyClass for a class in my_module.py." if error.__cause__ is None else ""
        raise UnknownFamilyError(name, f"{error}{remedy}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, TaskDistribution)):
        own = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, TaskDistribution) and value.__module__ == module.__name__
        ]
        raise UnknownFamilyError(
            name,
            f"{module_name} has no TaskDistribution class {class_name!r}; it has {', '.join(own) or 'none'}.",
        )
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise UnknownFamilyError(name, f"{class_name} is abstract: define {lacking}, or name a class that does.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UnknownFamilyError(
            name, f"{class_name} must take no arguments ({error}). Give them defaults, or name a subclass that does."
        ) from error
    try:
        return without_failure(found, f"{class_name}() failed")
    except UserModuleError as error:
        raise UnknownFamilyError(name, str(error)) from error


class FamilyListing(Mapping[str, str]):
    """One-line descriptions by family.

    Iteration yields the entries of a listing: each single family, and each pattern once. Lookup and ``in`` accept the
    name of any family that ``make`` builds.
    """

    def __init__(self) -> None:
        self._lines = {name: description for name, (_, description) in _FAMILIES.items()}
        self._lines |= {name: pattern.description for name, pattern in _PATTERNS.items()}

    def __getitem__(self, name: str) -> str:
        pattern = _pattern_of(name)
        return self._lines[name] if pattern is None else pattern.description

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._lines))

    def __len__(self) -> int:
        return len(self._lines)


def families() -> FamilyListing:
    """Return every registered family's name and its one-line description, sorted by name."""
    return FamilyListing()


class UnknownFamilyError(KeyError):
    """No family of this name is registered, or it cannot be built."""

    def __init__(self, name: str, reason: str | None = None) -> None:
        if reason is not None:
            super().__init__(f"Cannot build the family {name!r}. {reason}")
            return
        names = [*_FAMILIES, *(member for pattern in _PATTERNS.values() for member in pattern.members)]
        near = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
        if name in _PATTERNS:
            hint = f"It stands for families such as {_PATTERNS[name].example!r}. "
        super().__init__(f"Unknown family {name!r}. {hint}Known families: {', '.join(families())}.")

    def __str__(self) -> str:
        return str(self.args[0])
