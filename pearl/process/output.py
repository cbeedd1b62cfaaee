"""Output of scripts, which outlives a console that is closed, full, or without the letters."""

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
    """Return a console that prints text as it is: brackets in a path are no markup, ``:x:`` is no emoji."""
    from rich.console import Console  # Worker processes do without.

    return Console(stderr=stderr, markup=False, emoji=False)


def protect_output() -> None:
    """Let this process outlive its output: for scripts and worker processes, not for libraries.

    What stdout and stderr cannot encode is replaced. What cannot be written (a closed pipe, a terminal that is gone, a
    full disk) is dropped. A descriptor of the three that the process was started without leads to nowhere, else the
    next file to be opened would get its number, and with it all that is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open takes the lowest free number, this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", closefd=False)  # noqa: SIM115  (for as long as the process lives)
        if isinstance(stream, io.TextIOWrapper) and _has_file(stream):  # Not what a notebook or a test has put there.
            setattr(sys, name, _protected(stream))


@contextmanager
def warn_on_failure(what: str) -> Iterator[None]:
    """Turn a failure within into a line on stderr; for additions to a result that is on disk already.

    Args:
        what: says what is missing then, such as "the picture was not drawn".
    """
    try:
        yield
    # Plots, trackers and a user's environments fail in ways that nobody can list.
    except Exception as error:
        warn(f"Warning: {what} ({brief(error)}).")


def warn(message: str) -> None:
    """Print a line on stderr; nothing where that cannot be written."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def brief(error: BaseException) -> str:
    """Return an error's type and its message on one line, cut where it is long."""
    message = textwrap.shorten(str(error), _BRIEF, placeholder=" ...")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def say_in_signal_handler(message: str) -> None:
    """Print a line on the terminal, or on stderr where there is none.

    It passes by Python's streams: a signal may come while they are being written to, and they cannot be entered twice.
    """
    descriptor = next((number for number in (2, 1) if os.isatty(number)), 2)
    with suppress(OSError):
        os.write(descriptor, f"\n{message}\n".encode("ascii", "replace"))


class _Lossy(io.RawIOBase):
    """Writes to a stream's file, and drops what that does not take."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream  # which would close the file if it were collected
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
