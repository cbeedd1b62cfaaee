"""Check that the two packages beneath `pearl` are this distribution's own.

`agents` and `encoders` are ordinary words. Another distribution (openai-agents) installs a package named `agents` too,
and a folder of that name next to the running script counts as one: Python takes the first on its path.
"""

import importlib
import importlib.util
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "pearl-metarl"
LOWER_PACKAGES = ("encoders", "agents")


def check_floors() -> None:
    """Import `encoders` and `agents`, and check that each carries pearl-metarl's marker.

    Raises:
        ImportError: a package is missing, or another package of its name comes first on the path. The message names the
            file found and the remedy.
    """
    for package in LOWER_PACKAGES:
        _check_floor(package)


def _check_floor(package: str) -> None:
    location = _locate(package)
    if location is None:
        raise ImportError(
            f"pearl needs the package {package!r}, which is part of {DISTRIBUTION} but was not found: the installation "
            f"is incomplete. Reinstall it: {_reinstall_command()}",
            name=package,
        )
    try:
        marker = getattr(importlib.import_module(package), "__distribution__", None)
    except Exception as error:
        if _declares_marker(location):
            raise
        raise _foreign_package_error(package, location) from error
    if marker != DISTRIBUTION:
        raise _foreign_package_error(package, location)


def _locate(package: str) -> Path | None:
    """Return the file that `import package` loads (a folder for a package without `__init__.py`), or None."""
    if package in sys.modules:
        file = getattr(sys.modules[package], "__file__", None)
        return Path(file) if file else Path(next(iter(getattr(sys.modules[package], "__path__", [])), package))
    spec = find_spec(package)
    if spec is None:
        return None
    if spec.has_location and spec.origin:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or []), package))


def _declares_marker(location: Path) -> bool:
    """Return whether a package that fails to import is ours, so that its own error should be shown."""
    return location.is_file() and f'__distribution__ = "{DISTRIBUTION}"'.encode() in location.read_bytes()


def _foreign_package_error(package: str, location: Path) -> ImportError:
    rivals = [name for name in packages_distributions().get(package, []) if name != DISTRIBUTION]
    known = f" (installed here: {', '.join(sorted(set(rivals)))})" if rivals else ""
    return ImportError(
        f"pearl needs {DISTRIBUTION}'s own package {package!r}, but Python finds a foreign one first: {location}\n"
        f"- If another distribution brings it{known}, as openai-agents brings 'agents': uninstall that one and "
        f"reinstall {DISTRIBUTION} ({_reinstall_command()}), or give {DISTRIBUTION} a virtual environment of its own.\n"
        f"- If it is a folder or file of yours, next to the running script, in the current folder or on PYTHONPATH: "
        f"rename it, or run from elsewhere.\n"
        f"- If it is the rest of a broken installation of {DISTRIBUTION}: reinstall.",
        name=package,
        path=str(location),
    )


def _reinstall_command() -> str:
    return f"pip install --force-reinstall --no-deps {DISTRIBUTION}, or your checkout's path instead of the name"
