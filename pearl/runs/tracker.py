"""Trackers of a run's numbers: console, `progress.csv`, TensorBoard and Weights & Biases, over environment steps.

All values pass through a stable-baselines3 logger, so callbacks can record values too. `progress.csv` is the lasting
record: each row is on disk as soon as it is logged, and a resumed run keeps the rows up to its checkpoint.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from stable_baselines3.common.logger import (
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)

from pearl.files.access import folder_in, refuse_links, write_text
from pearl.runs.progress_csv import ProgressCSV, csv_line
from pearl.runs.tensorboard import ResumableTensorBoard
from pearl.runs.wandb_mode import WandbMode
from pearl.runs.wandb_writer import WandbWriter, start_wandb

_CONSOLE_WIDTH = 60  # characters of a key or value; the default of 36 cuts keys, and equal cut keys are an error


class Tracker:
    """Sends a run's metrics, plots, tables and checkpoints to every enabled output.

    Args:
        run_dir: the run's folder, created if missing. All files are written there.
        config: the run's settings, for W&B.
        name: the run's name on the W&B dashboard.
        wandb_mode: "auto" follows `WANDB_MODE`, else is online if an API key is configured, else offline.
        tensorboard: whether to write `run_dir/tensorboard`.
        console: whether to print a table of each row.
        resume_env_steps: environment steps of the checkpoint to resume from. Later rows are dropped. None starts a new
            run.
        logged_env_steps: minimum environment steps in the last row that the resumed run has logged.

    Raises:
        FileExistsError: a new run, but `progress.csv` has rows of another run.
        ValueError: `wandb_mode` is unknown, or the resumed run's `progress.csv` is damaged.
        FileError: a file there is a pipe or a device, or a folder there is a link.
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
    def sync_command(self) -> str | None:
        """The command that uploads an offline W&B run; None if there is nothing to upload."""
        return self._wandb.sync_command if self._wandb is not None and self._wandb.offline else None

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
            ValueError: a row does not have one value for each column.
        """
        for index, row in enumerate(rows):
            if len(row) != len(columns):
                raise ValueError(f"table {key!r} has {len(columns)} columns, but row {index} has {len(row)} values")
        name = re.sub(r"[^\w.-]+", "_", key) + ".csv"
        write_text(folder_in(self.run_dir, "tables") / name, "".join(map(csv_line, [columns, *rows])))
        if self._wandb is not None:
            self._wandb.table(key, columns, rows)

    def artifact(self, folder: Path, name: str, kind: str) -> None:
        """Store a copy of `folder`, such as a checkpoint, as a W&B artifact; do nothing without W&B.

        Args:
            folder: the folder to store.
            name: the artifact's name, shared by its versions.
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
        """Close every output; W&B marks the run as failed unless `exit_code` is 0. Further calls do nothing."""
        if self._closed:
            return
        self._closed = True
        if self._wandb is not None:
            self._wandb.exit_code = exit_code
        self.logger.close()
