"""Runs of the training script that take a few seconds."""

import contextlib
import csv
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import train
import tyro

import pearl
from pearl.checkpoint.manifest import read_manifest
from pearl.runs.run import Run
from tests.support.processes import ROOT
from tests.support.runs.trackers import clean_environment

SETTINGS = [
    *("--training.n-train-tasks", "4", "--training.meta-batch", "4", "--training.batch-size", "8"),
    *("--encoder.latent-dim", "2", "--encoder.hidden-sizes", "16", "--agent.hidden-sizes", "16"),
    *("--evaluation.n-test-tasks", "4", "--wandb", "disabled"),
]
# Iterations of 240 steps, an evaluation and a checkpoint after each or each second one.
SHORT = ["point-robot", *SETTINGS, "--total-steps", "3000", "--evaluation.interval", "300"]
SHORTEST = ["point-robot", *SETTINGS, "--total-steps", "400", "--evaluation.interval", "300"]


def environment() -> dict[str, str]:
    """The environment of a process that runs a script, clean of what W&B reads."""
    return clean_environment() | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def main_in_child(
    argv: list[str], log: Path, *, file_size_limit: int | None = None, killed_at_first_checkpoint: bool = False
) -> None:
    """Run the training script in a process of its own; a limit on the size of files stands for a full disk."""
    if file_size_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, file_size_limit))
    if killed_at_first_checkpoint:
        Run.save = lambda run: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment]
    with open(log, "a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        code = train.main(argv)
    sys.exit(code)


def printed_by(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[Any, str]:
    """The exit code of the training script, and all that it printed, without line breaks and boxes."""
    try:
        code: Any = train.main(list(map(str, argv)))
    except SystemExit as exit_:
        code = exit_.code
    output = capsys.readouterr()
    text = "".join(" " if letter in "│╭╮╰╯─" else letter for letter in output.out + output.err)
    return code, " ".join(text.split())


def script_of(main: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A function that runs another script with its arguments and returns its exit code and what it printed."""

    def run(*argv: object) -> tuple[int, str]:
        code = tyro.cli(main, args=list(map(str, argv)))
        output = capsys.readouterr()
        return code, output.out + output.err

    return run


def assert_one_error_names(file: Path, printed: str) -> None:
    """Assert that a script printed one line, an error that names a file."""
    (line,) = printed.splitlines()
    assert line.startswith("Error: "), line
    assert str(file) in line, line


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of progress.csv, but for what wall-clock time decides, empty cells, and a row cut off in writing."""
    text = (Path(folder) / "progress.csv").read_text()
    return [
        {name: value for name, value in row.items() if value and name != "wall_s" and not name.startswith("time/")}
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    ]


def checkpoints(folder: Path) -> int:
    """How many checkpoints were written to a run's folder."""
    try:
        return read_manifest(Path(folder) / "checkpoint").generation
    except pearl.CheckpointError:
        return 0


def same_weights(one: Path, other: Path) -> bool:
    """Whether the agents of two runs are bit for bit the same."""
    weights = [pearl.load(folder).agent.state_dict() for folder in (one, other)]
    return weights[0].keys() == weights[1].keys() and all(
        torch.equal(weights[0][name], weights[1][name]) for name in weights[0]
    )


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder and what it holds."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
