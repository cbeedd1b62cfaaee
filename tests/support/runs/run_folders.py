"""Runs of a small model in folders of their own: started, resumed and read back."""

from pathlib import Path
from typing import Any

from pearl import PEARL, MetaLearner, TaskDistribution
from pearl.runs.run import Run, resume
from tests.support.runs.trackers import read_rows
from tests.support.small import Counting, small_model

INTERVAL = 32
SETTINGS: dict[str, dict[str, Any]] = {"agent": {"final_learning_rate": 1e-4}, "evaluation": {"interval": INTERVAL}}


def model_of(family: str | TaskDistribution | None = None, **sections: Any) -> PEARL:
    merged = {section: SETTINGS.get(section, {}) | sections.get(section, {}) for section in SETTINGS | sections}
    return small_model(family, **merged)


def run_in(folder: Path, model: MetaLearner | None = None, **options: Any) -> Run:
    return Run(model_of() if model is None else model, folder, wandb="disabled", **options)


def go_on(folder: Path, **expected: Any) -> Run:
    return run_in(folder, resume(folder, distribution=Counting(), **expected), resume=True)


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of progress.csv without what wall-clock time decides."""
    return [
        {name: value for name, value in row.items() if name != "wall_s" and not name.startswith("time/")}
        for row in read_rows(folder)
    ]


def steps_of(folder: Path) -> list[int]:
    return [int(row["env_steps"]) for row in rows(folder)]


def stop_at(run: Run, env_steps: int) -> Run:
    """Train until the first evaluation at ``env_steps`` or later, and stop there as Ctrl-C would."""

    def evaluated(metrics: Any) -> None:
        run.interrupted = metrics["env_steps"] >= env_steps

    assert run.train(on_evaluation=evaluated) is None
    return run
