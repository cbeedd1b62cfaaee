"""What the tests of tracking share: an environment without W&B settings, a folder to stay clean, rows read back."""

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pearl.runs.tracker import Tracker

CONFIG = {"family": "cheetah-vel", "agent": {"latent_dim": 5, "hidden": [300, 300]}}
WHAT_WANDB_READS = ("WANDB_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(WHAT_WANDB_READS)}


def local_tracker(run_dir: Path, **options: Any) -> Tracker:
    settings: dict[str, Any] = {"wandb_mode": "disabled", "console": False, "tensorboard": False, **options}
    return Tracker(run_dir, config=CONFIG, name="a run", **settings)


@contextmanager
def tracking(run_dir: Path, **options: Any) -> Iterator[Tracker]:
    tracker = local_tracker(run_dir, **options)
    yield tracker
    tracker.close()


def log_row(tracker: Tracker, env_steps: int, metrics: Mapping[str, Any]) -> None:
    """Log a row as a model does."""
    for key, value in {"env_steps": float(env_steps), **metrics}.items():
        tracker.logger.record(key, value)
    tracker.logger.dump(env_steps)


def read_rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_header(run_dir: Path) -> list[str]:
    return (run_dir / "progress.csv").read_text().splitlines()[0].split(",")


class FakeRun:
    """The part of a W&B run that the writer talks to; it fails once `alive` is False."""

    offline, dir, id = True, "/runs/mine/wandb/offline-run-1/files", "abc"

    def __init__(self) -> None:
        self.alive = True
        self.exit_codes: list[int] = []

    def define_metric(self, *_: Any, **__: Any) -> None: ...

    def log(self, _: dict[str, Any]) -> None:
        if not self.alive:
            raise ConnectionResetError("Connection lost")

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)
