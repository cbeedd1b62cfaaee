"""A run's folder: its lock, and reading and writing its documents."""

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
    """Lock a run's folder; make it if it does not exist.

    Raises:
        RunError: another run writes to the folder, or it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FolderLock(folder)
    except FolderInUseError as error:
        raise RunError(f"{error} Wait until it has ended, or choose another folder with --run-dir.") from error
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError) -> RunError:
    """Return the error about a run folder that is not writable."""
    if isinstance(error, FileError):  # The message already says what is in the way.
        return RunError(f"Cannot write the run folder {folder}: {error}.")
    return RunError(f"Cannot write the run folder {folder}: {error}. Choose another one with --run-dir.")


def read_progress(folder: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the columns of a run's ``progress.csv``; NaN if a row has no number.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError, FileError: the file is damaged or not a regular file.
    """
    names, rows = read_rows(folder / "progress.csv")
    return {name: np.array([_number(row[name]) for row in rows]) for name in (names if rows else ())}


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:  # An empty cell, or a text from a callback.
        return np.nan


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that ``write_json`` wrote.

    Raises:
        RunError: the file does not exist, cannot be read, or does not contain a JSON object.
    """
    try:
        found = read_json_file(path)
    except (OSError, ValueError) as error:  # ValueError: not valid JSON.
        raise RunError(f"Cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} should hold a JSON object, but holds {type(found).__name__}.")
    return found


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
