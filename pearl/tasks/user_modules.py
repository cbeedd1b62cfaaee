"""Modules of a user's, whose code may raise anything."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

BuiltT = TypeVar("BuiltT")


class UserModuleError(ImportError):
    """A module of a user's does not exist, or its code failed."""


def import_user_module(name: str) -> ModuleType:
    """Import a module by its dotted name.

    Raises:
        UserModuleError: there is no such module, or importing it fails; says where.
    """
    if name.endswith(".py"):
        raise UserModuleError(f"{name!r} is a file's name; a module's has no .py.")
    if not name or any(not part.isidentifier() for part in name.split(".")):
        raise UserModuleError(f"{name!r} is no module's name.")
    try:
        return without_failure(lambda: importlib.import_module(name), f"Importing {name} failed")
    except UserModuleError as error:
        cause = error.__cause__
        if not isinstance(cause, ModuleNotFoundError) or not f"{name}.".startswith(f"{cause.name}."):
            raise
        places = dict.fromkeys(str(Path(place).absolute()) for place in sys.path[:3])
        raise UserModuleError(
            f"There is no module {name!r} in {', '.join(places)} or among the installed ones."
        ) from cause


def without_failure(build: Callable[[], BuiltT], failed: str) -> BuiltT:
    """Return what a user's code builds.

    Args:
        build: runs the code.
        failed: begins the error.

    Raises:
        UserModuleError: the code raised something; says what and where.
    """
    try:
        return build()
    except (Exception, SystemExit) as error:  # SystemExit: a script that is no module calls sys.exit, or argparse does.
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
        where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
        raise UserModuleError(f"{failed}: {type(error).__name__}: {error}{where}.") from error
