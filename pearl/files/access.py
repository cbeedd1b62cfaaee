"""Writing and reading files: writes are atomic and never follow a link.

A run folder may come from a stranger, and a link in it may lead to any file of its user. A write therefore goes to a
new file with a random name, which then replaces the old file or link without opening it. Reading follows links, because
model hubs store files as links. It accepts regular files only: a pipe or a device could block the reader or never end.
The folder that a user names may be a link; a folder inside it may not.
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
"""Size in bytes of the largest file that is read whole, unless the caller sets a limit"""
_LOCKED_BYTE = 1 << 30  # beyond the file's text: Windows lets nobody read a locked byte
_PARTIAL = re.compile(r"\.pearl-[0-9a-f]{32}\.partial")
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class FileError(OSError):
    """A file or folder is of the wrong kind; the message names it and the remedy."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose content atomically replaces ``path`` at the block's end; if the block fails, it is dropped.

    A missing folder is made. Unfinished files of killed processes in the folder are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(path.parent)
    partial, stream = _unfinished(path.parent)
    try:
        with stream:
            yield stream
            stream.flush()
            if os.name != "nt":
                os.replace(partial, path)  # Before the stream is closed, which ends its lock.
        if os.name == "nt":  # Windows cannot rename an open file.
            os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, atomically."""
    with replacing(path) as stream:
        stream.write(text.encode())


def copy(source: Path, target: Path) -> None:
    """Copy a regular file, atomically."""
    with open_to_read(source) as original, replacing(target) as stream:
        shutil.copyfileobj(original, stream)


def create(path: Path) -> IO[bytes]:
    """Create a new file and open it for writing.

    Raises:
        FileExistsError: the file, or a link of its name, exists.
    """
    return open(path, "xb")  # O_EXCL: a link counts as an existing file


def append_to(path: Path) -> TextIO:
    """Open a regular text file for appending.

    Raises:
        FileError: the path is not a regular file.
        OSError: the path is a link, or the file cannot be opened.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW | NO_WAIT | NO_INHERITANCE)
    return open(_regular(path, descriptor), "a", newline="", encoding="utf-8")


def open_to_read(path: Path) -> BufferedReader:
    """Open a regular file for reading; links are followed.

    Raises:
        FileError: the path is a pipe, a device, a socket or a folder.
    """
    # Non-blocking: opening a pipe without a writer would wait.
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT | NO_INHERITANCE | BINARY)
    return open(_regular(path, descriptor), "rb")


def read_bytes(path: Path, limit: int = LARGEST_DOCUMENT) -> bytes:
    """Return the content of a regular file.

    Raises:
        FileError: the path is not a regular file, or the file is larger than ``limit`` bytes.
    """
    with open_to_read(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path} is larger than {limit:,} bytes, the most that is read there; move it away")
    return content


def read_text(path: Path, limit: int = LARGEST_DOCUMENT) -> str:
    """Return the text in a regular file.

    Raises:
        FileError: as from ``read_bytes``, or the text is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not text in UTF-8 ({error}); move it away, or restore it from a copy") from error


def folder_in(root: Path, name: str) -> Path:
    """Return the path of a folder inside a folder that the user named; it need not exist.

    Raises:
        FileError: the path is a link, so that a write would leave the user's folder.
    """
    _refuse_link(root / name)
    return root / name


def refuse_links(folder: Path, *, allowed: Collection[str] = ()) -> None:
    """Check that a folder that another library writes to is not a link and holds none, except the names ``allowed``.

    Raises:
        FileError: the folder is a link or holds one.
    """
    _refuse_link(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in allowed:
            _refuse_link(path)


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; the lock ends when the file is closed or its process ends.

    Returns:
        True if this call locked the file, False if another process holds the lock.

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
    """Return the descriptor of a regular file; close any other descriptor and raise a ``FileError``."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise FileError(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a regular file; move it away")


def _unfinished(folder: Path) -> tuple[Path, IO[bytes]]:
    """Return a new file with a random name; its lock marks it as in use while it is open."""
    while True:
        path = folder / f".pearl-{uuid4().hex}.partial"
        stream = create(path)
        try:
            # Before the lock, another process may have removed it as an unfinished file.
            if try_lock(stream.fileno()) and os.fstat(stream.fileno()).st_nlink == 1:
                return path, stream
        except OSError:  # On a file system without locks, nobody removes the file.
            return path, stream
        stream.close()


def _remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files that killed writers left in a folder."""
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
