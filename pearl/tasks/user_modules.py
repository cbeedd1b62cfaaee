"""Import of a user's modules, whose code may raise any exception."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

BuiltT = TypeVar("BuiltT")


class UserModuleError(ImportError):
    """A user's module does not exist, or its code failed."""


def import_user_module(name: str) -> ModuleType:
    """Import a module by its dotted name.

    Raises:
        UserModuleError: there is no such module, or its import fails; the message names the file and line.
    """
    if name.endswith(".py"):
        raise UserModuleError(f"{name!r} is a file name; a module name has no .py.")
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
    """Run a user's code and return its result.

    Args:
        build: runs the code.
        failed: start of the error message.

    Raises:
        UserModuleError: the code raised an exception; the message names it and its place.
    """
    try:
        return build()
    except (Exception, SystemExit) as error:  # SystemExit: the import of a script may call sys.exit or argparse.
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
        where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
        raise UserModuleError(f"{failed}: {type(error).__name__}: {error}{where}.") from error
