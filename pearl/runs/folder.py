"""A run's folder: the lock on it, and its documents, read and written."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pearl.files.access import FileError, write_text
from pearl.files.json_reading import read_json_file
from pearl.files.lock import FolderInUseError, FolderLock
from pearl.runs.progress_csv import read_rows


class RunError(RuntimeError):
    """A run folder cannot be used as asked."""


def lock_run(folder: Path) -> FolderLock:
    """Make a run's folder where missing, and lock it.

    Raises:
        RunError: another run writes to it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FolderLock(folder)
    except FolderInUseError as error:
        raise RunError(f"{error} Wait until it has ended, or choose another folder with --run-dir.") from error
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError) -> RunError:
    """Return the error of a run folder that cannot be written."""
    if isinstance(error, FileError):  # Something else than a file stands in its place, and the message says so.
        return RunError(f"Cannot write the run folder {folder}: {error}.")
    return RunError(f"Cannot write the run folder {folder}: {error}. Choose another one with --run-dir.")


def read_progress(folder: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the columns of a run's ``progress.csv``; NaN where a row has no number.

    Raises:
        FileNotFoundError: there is none.
        ValueError, FileError: it is damaged, or no regular file.
    """
    names, rows = read_rows(folder / "progress.csv")
    return {name: np.array([_number(row[name]) for row in rows]) for name in (names if rows else ())}


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:  # Nothing, or a text that a callback recorded.
        return np.nan


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that ``write_json`` wrote.

    Raises:
        RunError: the file is not there, cannot be read, or holds something else.
    """
    try:
        found = read_json_file(path)
    except (OSError, ValueError) as error:  # ValueError: not JSON as ours is.
        raise RunError(f"Cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} should hold a JSON object, but holds {type(found).__name__}.")
    return found


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
