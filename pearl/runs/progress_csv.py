"""The lasting record of a run: `progress.csv`, with each row on disk as soon as it is logged."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from stable_baselines3.common.logger import FormatUnsupportedError, KVWriter, filter_excluded_keys

from pearl.files.access import append_to, read_bytes, write_text

_LEADING_COLUMNS = ("env_steps", "gradient_steps", "wall_s")
_EPISODE_RETURN = re.compile(r"test/return_ep(\d+)")
_COUNT = re.compile(r"[0-9]{1,18}")


def column_order(keys: Iterable[str]) -> list[str]:
    """The columns of `progress.csv`: counters, returns of test episodes 1..K, the test score, then the rest sorted."""

    def rank(key: str) -> tuple[int, int, str]:
        if key in _LEADING_COLUMNS:
            return 0, _LEADING_COLUMNS.index(key), ""
        if episode := _EPISODE_RETURN.fullmatch(key):
            return 1, int(episode[1]), ""
        return (2, 0, "") if key == "test/score" else (3, 0, key)

    return sorted(set(keys), key=rank)


class ProgressCSV(KVWriter):
    """A CSV file with a line for each logged row, written at once, and columns in the order of `column_order`.

    A key that appears later becomes a new column, empty in earlier rows. The first row creates the file.

    Args:
        path: the file.
        resume_env_steps: append to an existing file, and keep its rows up to these environment steps. An incomplete
            last line is dropped. None starts a new file.
        logged_env_steps: minimum environment steps in the last row of the existing file.

    Raises:
        FileExistsError: a new file is wanted, but a file with rows exists.
        ValueError: the existing file is damaged or has lost rows.
        FileError: the path is not a regular file.
    """

    def __init__(self, path: Path, *, resume_env_steps: int | None = None, logged_env_steps: int = 0) -> None:
        self.path = path
        columns, rows = read_rows(path) if path.exists() else ([], [])
        if rows and resume_env_steps is None:
            raise FileExistsError(
                f"{path} belongs to an earlier run. Give the new run a folder of its own, or resume the earlier "
                "one (resume_env_steps: the environment steps of its checkpoint)"
            )
        if path.exists() and resume_env_steps is not None:
            last = max((int(row["env_steps"]) for row in rows), default=-1)
            if last < max(0, logged_env_steps):
                ends = f"ends at {last} environment steps" if rows else "holds no row"
                raise ValueError(
                    f"{path} {ends}, but the run logged a row at {logged_env_steps} or later: lines are lost. "
                    "Restore it from a copy, or delete it to continue without its rows"
                )
        self._columns = column_order(columns)
        self._file = self._rewrite([row for row in rows if int(row["env_steps"]) <= (resume_env_steps or 0)])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append one row.

        Args:
            key_values: the values, by key.
            key_excluded: the outputs that skip each key; this output is "csv".
            step: environment steps.

        Raises:
            FormatUnsupportedError: a value, such as an image, does not fit into a cell and is not excluded.
        """
        cells = {key: _as_cell(value) for key, value in filter_excluded_keys(key_values, key_excluded, "csv").items()}
        cells["env_steps"] = str(int(step))
        if self._file is None or cells.keys() - set(self._columns):
            rows = read_rows(self.path)[1] if self.path.exists() else []
            self._columns = column_order([*self._columns, *cells])
            self.close()
            self._file = self._rewrite([*rows, cells])
        else:
            self._file.write(csv_line(cells.get(column, "") for column in self._columns))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _rewrite(self, rows: Sequence[Mapping[str, str]]) -> TextIO | None:
        """Replace the file atomically and open it for appending; without rows, remove it and return None."""
        if not rows:
            self.path.unlink(missing_ok=True)
            return None
        lines = [self._columns, *([row.get(column, "") for column in self._columns] for row in rows)]
        write_text(self.path, "".join(map(csv_line, lines)))
        return append_to(self.path)


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a `progress.csv`, without an incomplete last line.

    Raises:
        ValueError: the file is not UTF-8, contains a NUL, or a line does not fit the header.
        FileError: the path is not a regular file.
    """
    content = read_bytes(path)
    if b"\0" in content:
        raise ValueError(f"{path} is damaged: it holds NUL bytes. Restore it from a copy, or delete it")
    try:
        lines = content[: content.rfind(b"\n") + 1].decode().splitlines()  # a line without a newline is incomplete
        header, *body = csv.reader(lines) if lines else [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}. Restore it from a copy, or delete it") from error
    rows = []
    for number, cells in enumerate(body, start=2):
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header) or not _COUNT.fullmatch(row.get("env_steps", "")):
            raise ValueError(
                f"{path}, line {number}, does not fit the header: {lines[number - 1]!r:.200}. Fix or delete the line"
            )
        rows.append(row)
    return header, rows


def _as_cell(value: Any) -> str:
    if getattr(value, "ndim", None) == 0:  # A NumPy scalar, or an array or tensor without dimensions.
        value = value.item()
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise FormatUnsupportedError(["csv"], type(value).__name__)
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def csv_line(cells: Iterable[Any]) -> str:
    """Return the cells as a line of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
