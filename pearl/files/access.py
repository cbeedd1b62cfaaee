"""Writing and reading files: whole or not at all, and never written through a link.

A run folder may come from a stranger, and a link in it may lead to any file of its user. Writing therefore goes to a
new file with a random name, which then replaces the old one: what stood there, a link too, is never opened. Reading
follows links, because model hubs keep files as links, but it reads regular files alone: a pipe or a device would hold
up the reader or never end. The folder that a user names may be a link; a folder inside it may not.
"""

import os
import re
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, TextIO
from uuid import uuid4

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Windows lacks the first three; it would translate line ends without the last one.
NO_FOLLOW, NO_WAIT, NO_INHERITANCE, BINARY = (
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
LARGEST_DOCUMENT = 1 << 28
"""Bytes of the largest file that is read whole, where the caller sets no limit of its own"""
_LOCKED_BYTE = 1 << 30  # past any text in the file, which Windows would let nobody read else
_PARTIAL = re.compile(r"\.pearl-[0-9a-f]{32}\.partial")
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class FileError(OSError):
    """A file or folder is not of the kind that is read or written there; the message names it and says what to do."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content replaces ``path`` at once when the block ends, and is dropped if the block fails.

    The folder is made where missing. What killed processes left unfinished in it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(path.parent)
    partial, stream = _unfinished(path.parent)
    try:
        with stream:
            yield stream
            stream.flush()
            if os.name != "nt":
                os.replace(partial, path)  # Before it is closed, which ends its lock.
        if os.name == "nt":  # Windows renames no open file.
            os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8; the file appears whole or not at all."""
    with replacing(path) as stream:
        stream.write(text.encode())


def copy(source: Path, target: Path) -> None:
    """Copy a regular file; the copy appears whole or not at all."""
    with open_to_read(source) as original, replacing(target) as stream:
        shutil.copyfileobj(original, stream)


def create(path: Path) -> IO[bytes]:
    """Open a file to write that does not exist yet, not even as a link.

    Raises:
        FileExistsError: it does.
    """
    return open(path, "xb")  # O_EXCL, by which a link counts as a file that exists


def append_to(path: Path) -> TextIO:
    """Open a text file to append to, which is neither a link nor anything else than a file.

    Raises:
        FileError, OSError: it is.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW | NO_WAIT | NO_INHERITANCE)
    return open(_regular(path, descriptor), "a", newline="", encoding="utf-8")


def open_to_read(path: Path) -> BufferedReader:
    """Open a regular file to read, behind links too.

    Raises:
        FileError: it is a pipe, a device, a socket or a folder.
    """
    # Without waiting: a pipe that nobody writes to would hold up the open itself.
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT | NO_INHERITANCE | BINARY)
    return open(_regular(path, descriptor), "rb")


def read_bytes(path: Path, limit: int = LARGEST_DOCUMENT) -> bytes:
    """Return what a regular file holds.

    Raises:
        FileError: it is no regular file, or larger than ``limit`` bytes.
    """
    with open_to_read(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path} is larger than {limit:,} bytes, the most that is read there; move it away")
    return content


def read_text(path: Path, limit: int = LARGEST_DOCUMENT) -> str:
    """Return the text in a regular file.

    Raises:
        FileError: as from ``read_bytes``; it is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not text in UTF-8 ({error}); move it away, or restore it from a copy") from error


def folder_in(root: Path, name: str) -> Path:
    """Return the path of a folder inside a folder that the user named; it need not exist.

    Raises:
        FileError: it is a link, by which writing would leave the folder.
    """
    _refuse_link(root / name)
    return root / name


def refuse_links(folder: Path, *, besides: Collection[str] = ()) -> None:
    """Check that a folder that another library writes to is no link and holds none, but those of the names ``besides``.

    Raises:
        FileError: it is, or does.
    """
    _refuse_link(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in besides:
            _refuse_link(path)


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; the lock ends when the file is closed, however its process ends.

    Returns:
        Whether it is locked now; False where somebody else holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise FileError(
            f"{path} is a link to {os.readlink(path)}; nothing is written through a link inside a folder. "
            "Put a folder of its own there"
        )


def _regular(path: Path, descriptor: int) -> int:
    """Return the descriptor of a regular file; close that of anything else, and raise."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise FileError(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a regular file; move it away")


def _unfinished(folder: Path) -> tuple[Path, IO[bytes]]:
    """Return a new file with a random name, locked for as long as it is open: so others see that it is in use."""
    while True:
        path = folder / f".pearl-{uuid4().hex}.partial"
        stream = create(path)
        try:
            # Somebody may take it for one that was left, before it is locked.
            if try_lock(stream.fileno()) and os.fstat(stream.fileno()).st_nlink == 1:
                return path, stream
        except OSError:  # A file system without locks: there nobody removes it.
            return path, stream
        stream.close()


def _remove_unfinished(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PARTIAL.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_unlocked(Path(entry.path))


def _remove_if_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | NO_FOLLOW | NO_WAIT | NO_INHERITANCE)
    try:
        if try_lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)
