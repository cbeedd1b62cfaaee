"""A lock on a folder, which allows one writer at a time and ends with the process that holds it."""

import os
import socket
import stat
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pearl.files.access import BINARY, NO_FOLLOW, NO_INHERITANCE, NO_WAIT, FileError, try_lock

LOCK = ".lock"
_MOST_TEXT = 300
_held: set[int] = set()


class FolderInUseError(RuntimeError):
    """Another process, or another object of this process, holds the folder's lock; the message names it."""


class FolderLock:
    """Holds the lock of an existing folder until ``release``, the end of a ``with`` block or the end of the process.

    The file ``.lock`` in the folder names the holder. A ``.lock`` that a killed process left locks nothing.

    Raises:
        FolderInUseError: another process or object holds the lock.
        FileError: ``.lock`` is a link or not a regular file.
        OSError: ``.lock`` cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._process = os.getpid()
        self._descriptor: int | None = None
        while self._descriptor is None:
            self._descriptor = self._locked()
        _held.add(self._descriptor)

    def release(self) -> None:
        """Release the lock and remove its file; further calls do nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or self._process != os.getpid():  # A fork holds nothing.
            return
        _held.discard(descriptor)
        # Removed before the lock ends, so that nobody locks a file that is about to be removed.
        with suppress(OSError):
            if _is_at(self.path, descriptor):
                self.path.unlink()
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.release()

    def _locked(self) -> int | None:
        """Return the descriptor of the locked file, or None if its last holder has removed it meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | NO_FOLLOW | NO_WAIT | NO_INHERITANCE | BINARY
        if self.path.is_symlink():
            raise FileError(f"{self.path} is a link, but the folder's lock must be a file; remove it")
        descriptor = os.open(self.path, flags, 0o666)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise FileError(f"{self.path} is not a file of its own, but the folder's lock must be one; remove it")
            try:
                if not try_lock(descriptor):
                    raise FolderInUseError(f"{self.path.parent} is in use by {_holder(descriptor)}.")
            except OSError as error:
                warnings.warn(
                    f"{self.path.parent} cannot be locked ({error}): start no second run in it.", stacklevel=3
                )
            if not _is_at(self.path, descriptor):
                os.close(descriptor)
                return None
            os.ftruncate(descriptor, 0)
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {started}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _holder(descriptor: int) -> str:
    text = os.read(descriptor, _MOST_TEXT).decode(errors="replace").strip()
    return "".join(letter for letter in text if letter.isprintable()) or "another process"


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _forget() -> None:
    """Close the parent's locks in a forked process, so that they end with the parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
