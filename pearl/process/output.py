"""Robust output of scripts: it survives a closed console, a full disk and a limited encoding."""

import codecs
import io
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_BRIEF = 300  # characters
_ENCODING_ERRORS = "pearl-plain"
_PLAIN = {
    "→": "->",
    "…": "...",
    "–": "-",
    "−": "-",
    "×": "x",
    "µ": "u",
    "·": "-",
    "│": "|",
    **dict.fromkeys("─━╸╺", "-"),
    **dict.fromkeys("╭╮╰╯", "+"),
}


def make_console(*, stderr: bool = False) -> "Console":
    """Return a console that prints text unchanged: brackets are not markup, ``:x:`` is not an emoji."""
    from rich.console import Console  # Worker processes do not need it.

    return Console(stderr=stderr, markup=False, emoji=False)


def protect_output() -> None:
    """Make this process survive failures of its output; for scripts and worker processes, not for libraries.

    Characters that stdout and stderr cannot encode are replaced. Text that cannot be written (closed pipe, lost
    terminal, full disk) is dropped. A missing standard descriptor is opened on the null device: otherwise the next file
    opened would get its number and receive the output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open returns the lowest free number, this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", closefd=False)  # noqa: SIM115  (for as long as the process lives)
        if isinstance(stream, io.TextIOWrapper) and _has_file(stream):  # Skips the replacement of a notebook or a test.
            setattr(sys, name, _protected(stream))


@contextmanager
def warn_on_failure(what: str) -> Iterator[None]:
    """Turn an error in the block into a warning on stderr; for additions to a result that is already on disk.

    Args:
        what: the consequence, such as "the picture was not drawn".
    """
    try:
        yield
    # Plots, trackers and a user's environments fail in ways that nobody can list.
    except Exception as error:
        warn(f"Warning: {what} ({brief(error)}).")


def warn(message: str) -> None:
    """Print a line on stderr; do nothing if stderr cannot be written to."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def brief(error: BaseException) -> str:
    """Return an error's type and message on one line, shortened if long."""
    message = textwrap.shorten(str(error), _BRIEF, placeholder=" ...")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def say_in_signal_handler(message: str) -> None:
    """Print a line on the terminal, or on stderr if there is no terminal.

    It bypasses Python's streams, which are not reentrant: a signal may arrive during a write to them.
    """
    descriptor = next((number for number in (2, 1) if os.isatty(number)), 2)
    with suppress(OSError):
        os.write(descriptor, f"\n{message}\n".encode("ascii", "replace"))


class _Lossy(io.RawIOBase):
    """Writes to a stream's file; drops data that the file does not accept."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream  # Kept: its garbage collection would close the file.
        self._raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        self.name = stream.name

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: Any, /) -> int:
        try:
            written = self._raw.write(data)
        except OSError:
            written = None
        return len(data) if written is None else int(written)


def _protected(stream: io.TextIOWrapper) -> TextIO:
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(stream)),
        encoding=stream.encoding,
        errors=_ENCODING_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _has_file(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.fileno() >= 0
    except OSError:
        return False


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error(_ENCODING_ERRORS, _plain)
