"""Where a run's numbers go: console, `progress.csv`, TensorBoard and Weights & Biases, over environment steps.

Everything passes through a stable-baselines3 logger, so its callbacks record beside us. `progress.csv` is the record
that survives: a row is on disk as soon as it is logged, and a resumed run goes on with the rows of its checkpoint.
"""

import csv
import io
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
from PIL import Image as PillowImage
from stable_baselines3.common.logger import (
    FormatUnsupportedError,
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from torch.utils.tensorboard import SummaryWriter

from pearl.files.access import append_to, folder_in, read_bytes, refuse_links, write_text
from pearl.runs.wandb_mode import ResolvedWandbMode, WandbMode
from pearl.runs.wandb_writer import WandbWriter, start_wandb

_LEADING_COLUMNS = ("env_steps", "gradient_steps", "wall_s")
_EPISODE_RETURN = re.compile(r"test/return_ep(\d+)")
_COUNT = re.compile(r"[0-9]{1,18}")
_EVENT_FILE = re.compile(r"(?P<kind>events\.out\.tfevents\.)(?P<second>\d{10})(?P<rest>\..*)")
_CONSOLE_WIDTH = 60  # characters of a key or value; the default of 36 cuts keys, and two that become equal are an error


class Tracker:
    """Sends a run's metrics, plots, tables and checkpoints to every output that is switched on.

    Args:
        run_dir: the run's folder, created where missing. Everything is written beneath it.
        config: the run's settings, for W&B.
        name: the run's name on the W&B dashboard.
        wandb_mode: "auto" follows `WANDB_MODE`, else is online where an API key is configured, else offline.
        tensorboard: whether to write `run_dir/tensorboard`.
        console: whether to print a table of each row.
        resume_env_steps: environment steps of the checkpoint that the run goes on from. What was logged after it is
            dropped. None starts a new run.
        logged_env_steps: environment steps by which the run to go on from has logged a row for certain.

    Raises:
        FileExistsError: a new run in a folder whose `progress.csv` holds the rows of another.
        ValueError: `wandb_mode` is unknown, or a `progress.csv` to go on with is damaged.
        FileError: a file there is a pipe or a device, or a folder there a link.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        config: Mapping[str, Any],
        name: str,
        wandb_mode: WandbMode = "auto",
        tensorboard: bool = True,
        console: bool = True,
        resume_env_steps: int | None = None,
        logged_env_steps: int = 0,
    ) -> None:
        self.run_dir = Path(run_dir).resolve()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._closed = False
        progress = self.run_dir / "progress.csv"
        outputs: list[KVWriter] = [
            ProgressCSV(progress, resume_env_steps=resume_env_steps, logged_env_steps=logged_env_steps)
        ]
        self._tensorboard: TensorBoardOutputFormat | None = None
        if tensorboard:
            refuse_links(self.run_dir / "tensorboard")
            self._tensorboard = ResumableTensorBoard(self.run_dir / "tensorboard", resume_env_steps=resume_env_steps)
            outputs.append(self._tensorboard)
        self._wandb: WandbWriter | None = start_wandb(self.run_dir, config=config, name=name, mode=wandb_mode)
        if self._wandb is not None:
            outputs.append(self._wandb)
        if console:
            outputs.append(HumanOutputFormat(sys.stdout, max_length=_CONSOLE_WIDTH))
        self.logger = Logger(folder=str(self.run_dir), output_formats=outputs)

    @property
    def wandb_mode(self) -> ResolvedWandbMode:
        """How W&B runs: "online", "offline" or "disabled"."""
        if self._wandb is None:
            return "disabled"
        return "offline" if self._wandb.offline else "online"

    @property
    def sync_command(self) -> str | None:
        """The command that uploads an offline W&B run; None where there is nothing to upload."""
        return self._wandb.sync_command if self._wandb is not None and self._wandb.offline else None

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Write one row, with all that callbacks recorded since the last one.

        Args:
            env_steps: environment steps taken so far, the x-axis of every curve.
            metrics: numbers by name. A slash groups them ("test/score").

        Raises:
            TypeError: a metric is not a number.
            ValueError: `metrics` holds other `env_steps` than the argument.
        """
        row = {key: _as_number(key, value) for key, value in metrics.items()}
        if row.setdefault("env_steps", int(env_steps)) != env_steps:
            raise ValueError(f"metrics['env_steps'] is {row['env_steps']}, but the row is logged at {env_steps}")
        for key, value in row.items():
            self.logger.record(key, value)
        self.logger.dump(int(env_steps))

    def image(self, key: str, path: Path, env_steps: int) -> None:
        """Show the image file at `path` in TensorBoard and W&B, at `env_steps`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no image at {path} for {key!r}")
        if self._tensorboard is not None:
            with PillowImage.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._tensorboard.writer.add_image(key, pixels, int(env_steps), dataformats="HWC")
            self._tensorboard.writer.flush()
        if self._wandb is not None:
            self._wandb.image(key, path, env_steps)

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table to `run_dir/tables/<key>.csv` and to W&B.

        Raises:
            ValueError: a row has not one value for each column.
        """
        for index, row in enumerate(rows):
            if len(row) != len(columns):
                raise ValueError(f"table {key!r} has {len(columns)} columns, but row {index} has {len(row)} values")
        name = re.sub(r"[^\w.-]+", "_", key) + ".csv"
        write_text(folder_in(self.run_dir, "tables") / name, "".join(map(_csv_line, [columns, *rows])))
        if self._wandb is not None:
            self._wandb.table(key, columns, rows)

    def artifact(self, folder: Path, name: str, kind: str) -> None:
        """Store a copy of `folder`, a checkpoint say, as a W&B artifact; without W&B the folder itself is the record.

        Args:
            folder: what to store.
            name: the artifact's name; its versions share it.
            kind: the artifact's type, such as "model".

        Raises:
            NotADirectoryError: there is no such folder.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise NotADirectoryError(f"no folder at {folder} to store as artifact {name!r}")
        if self._wandb is not None:
            self._wandb.artifact(folder, name, kind)

    def close(self, exit_code: int = 0) -> None:
        """End every output; W&B marks the run as failed unless `exit_code` is 0. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._wandb is not None:
            self._wandb.exit_code = exit_code
        self.logger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(exit_code=0 if error is None else 1)


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
    """A CSV file with one line per row logged, each on disk at once, and columns in the order of `column_order`.

    A key that appears later becomes a column, empty in earlier rows. The file exists once it has a row.

    Args:
        path: the file.
        resume_env_steps: go on with a file that exists, and keep its rows up to these environment steps. A last line
            that was cut off in writing is dropped. None starts a new file.
        logged_env_steps: environment steps that the last row of a file to go on with has at least.

    Raises:
        FileExistsError: a new file is asked for where there is one with rows.
        ValueError: the file to go on with is damaged, or lacks rows that it had.
        FileError: it is no regular file.
    """

    def __init__(self, path: Path, *, resume_env_steps: int | None = None, logged_env_steps: int = 0) -> None:
        self.path = path
        columns, rows = read_rows(path) if path.exists() else ([], [])
        if rows and resume_env_steps is None:
            raise FileExistsError(
                f"{path} belongs to an earlier run. Give the new run a folder of its own, or go on with that one "
                "(resume_env_steps, the environment steps of its checkpoint)"
            )
        if path.exists() and resume_env_steps is not None:
            last = max((int(row["env_steps"]) for row in rows), default=-1)
            if last < max(0, logged_env_steps):
                ends = f"ends at {last} environment steps" if rows else "holds no row"
                raise ValueError(
                    f"{path} {ends}, but the run logged a row at {logged_env_steps} or later: lines are lost. "
                    "Restore it from a copy, or delete it to go on without its rows"
                )
        self._columns = column_order(columns)
        self._file = self._rewrite([row for row in rows if int(row["env_steps"]) <= (resume_env_steps or 0)])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append one row.

        Args:
            key_values: the values, by key.
            key_excluded: the outputs that each key is not meant for; this one is called "csv".
            step: environment steps.

        Raises:
            FormatUnsupportedError: a value fits no cell (an image, say) and is not excluded.
        """
        cells = {key: _as_cell(value) for key, value in filter_excluded_keys(key_values, key_excluded, "csv").items()}
        cells["env_steps"] = str(int(step))
        if self._file is None or cells.keys() - set(self._columns):
            rows = read_rows(self.path)[1] if self.path.exists() else []
            self._columns = column_order([*self._columns, *cells])
            self.close()
            self._file = self._rewrite([*rows, cells])
        else:
            self._file.write(_csv_line(cells.get(column, "") for column in self._columns))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _rewrite(self, rows: Sequence[Mapping[str, str]]) -> TextIO | None:
        """Replace the file in one step, and open it to append; without rows remove it, and return None."""
        if not rows:
            self.path.unlink(missing_ok=True)
            return None
        lines = [self._columns, *([row.get(column, "") for column in self._columns] for row in rows)]
        write_text(self.path, "".join(map(_csv_line, lines)))
        return append_to(self.path)


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a `progress.csv`, without a last line that was cut off in writing.

    Raises:
        ValueError: it is no UTF-8, holds a NUL, or a line in it does not fit its header.
        FileError: it is no regular file.
    """
    content = read_bytes(path)
    if b"\0" in content:
        raise ValueError(f"{path} is damaged: it holds NUL bytes. Restore it from a copy, or delete it")
    try:
        lines = content[: content.rfind(b"\n") + 1].decode().splitlines()  # without its newline, a line was cut off
        header, *body = csv.reader(lines) if lines else [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}. Restore it from a copy, or delete it") from error
    rows = []
    for number, cells in enumerate(body, start=2):
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header) or not _COUNT.fullmatch(row.get("env_steps", "")):
            raise ValueError(
                f"{path}, line {number}, does not fit the header: {lines[number - 1]!r:.200}. Mend or delete the line"
            )
        rows.append(row)
    return header, rows


class ResumableTensorBoard(TensorBoardOutputFormat):
    """TensorBoard's event files; on resuming, TensorBoard hides what was logged after the checkpoint."""

    def __init__(self, folder: Path, *, resume_env_steps: int | None = None) -> None:
        # TensorBoard reads files in the order of their names, which begin with the second they were opened in: within
        # one second, or after the clock was set back, a resumed run's file could come before the one it goes on with.
        _let_earlier_files_come_first(folder)
        # Not the parent's constructor: it opens an event file that cannot purge.
        purge_step = None if resume_env_steps is None else resume_env_steps + 1
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=purge_step)
        self._is_closed = False


def _let_earlier_files_come_first(folder: Path) -> None:
    """Rename the event files in ``folder``, keeping their order, where a name says a second that is yet to pass."""
    found = {path: _EVENT_FILE.fullmatch(path.name) for path in sorted(folder.glob("events.out.tfevents.*"))}
    files = {path: match for path, match in found.items() if match is not None}
    now = int(time.time())
    seconds = [int(match["second"]) for match in files.values()]
    if not files or seconds[-1] < now:
        return
    # Below every second that is taken, so that no file is overwritten and the order holds all the time.
    first = min(now, *seconds) - len(files)
    for number, (path, match) in enumerate(files.items()):
        path.rename(path.with_name(f"{match['kind']}{first + number:010d}{match['rest']}"))


def _unwrapped(value: Any) -> Any:
    """The Python number in a NumPy scalar, or in an array or tensor without dimensions."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _as_number(key: str, value: Any) -> int | float:
    value = _unwrapped(value)
    if not isinstance(value, int | float):
        raise TypeError(f"metric {key!r} is {value!r}, a {type(value).__name__}; a metric is one number")
    return value


def _as_cell(value: Any) -> str:
    value = _unwrapped(value)
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise FormatUnsupportedError(["csv"], type(value).__name__)
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
