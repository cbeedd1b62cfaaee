"""A run: a folder in which a model is trained, so that it can be stopped, resumed and read."""

import csv
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pearl.callbacks import Callback
from pearl.checkpoint import has_checkpoint
from pearl.config import Config, PEARLConfig
from pearl.config_reading import to_mapping
from pearl.evaluation import Evaluation
from pearl.json_reading import read_json_file
from pearl.model import MetaLearner
from pearl.persistence import CHECKPOINT, describe, load, load_config, versions
from pearl.report import draw_evaluation, evaluation_summary, headline
from pearl.tasks import TaskDistribution
from pearl.tracking import Tracker
from pearl.training_config import TrainingConfig
from pearl.wandb_writer import WandbMode


class RunError(RuntimeError):
    """A run folder cannot be used as asked."""


class Run:
    """Trains a model in a folder: checkpoints at each evaluation, tracks, draws, and says how it ended.

    The folder holds ``config.json``, ``tasks.json``, ``progress.csv``, ``checkpoint/``, ``plots/`` and, once training
    is through, ``result.json``.

    Args:
        model: what is trained.
        folder: the run's folder.
        wandb: Weights & Biases mode.
        resume: the model comes from this folder's checkpoint and goes on.

    Raises:
        RunError: the folder holds a run and ``resume`` is False, or it cannot be written.
    """

    def __init__(self, model: MetaLearner, folder: Path, *, wandb: WandbMode = "auto", resume: bool = False) -> None:
        if not resume:
            check_unused(folder)
        self.model = model
        self.folder = folder
        self.name = run_name(model.family, model.config.system, model.seed)
        self.interrupted = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not resume:
                (folder / "progress.csv").unlink(missing_ok=True)  # of a run killed before its first checkpoint
            write_json(folder / "config.json", describe(model))
            write_json(
                folder / "tasks.json",
                {
                    "train": [task.to_json() for task in model.train_tasks],
                    "test": [task.to_json() for task in model.test_tasks],
                },
            )
            self.tracker = Tracker(
                folder,
                config=describe(model),
                name=self.name,
                wandb_mode=wandb,
                console=False,
                resume_env_steps=model.num_timesteps if resume else None,
            )
        except OSError as error:
            raise RunError(
                f"Cannot write the run folder {folder}: {error}. Choose another one with --run-dir."
            ) from error
        model.logger = self.tracker.logger

    def train(
        self, callback: Callback = None, on_evaluation: Callable[[dict[str, float]], None] | None = None
    ) -> Evaluation | None:
        """Train to ``training.total_steps``; return the last evaluation, or None where it was interrupted.

        Ctrl-C ends training after the running iteration, with a checkpoint; a second one ends it at once.

        Args:
            callback: stable-baselines3 callbacks.
            on_evaluation: told what each evaluation logged.
        """
        last: Evaluation | None = None

        def evaluated(evaluation: Evaluation, metrics: dict[str, float]) -> None:
            nonlocal last
            last = evaluation
            self.save()
            if on_evaluation is not None:
                on_evaluation(metrics)

        try:
            with self._stop_on_signal():
                self.model.learn(callback=callback, on_evaluation=evaluated, should_stop=lambda: self.interrupted)
            if self.model.num_timesteps < self.model.config.training.total_steps:
                self.save()
                self.tracker.close()
                return None
            last = self.model.evaluate() if last is None else last
            self._finish(last)
        except BaseException:
            self.tracker.close(exit_code=1)
            raise
        self.tracker.close()
        return last

    def save(self) -> None:
        """Write the checkpoint."""
        self.model.save(self.folder / CHECKPOINT)

    def _finish(self, evaluation: Evaluation) -> None:
        model = self.model
        for path in self.draw(evaluation):
            self.tracker.image(f"plots/{path.stem}", path, model.num_timesteps)
        result = {
            "family": model.family,
            "system": model.config.system,
            "seed": model.seed,
            "env_steps": model.num_timesteps,
            "gradient_steps": model.training.gradient_steps,
            "wall_s": model.wall_s,
            "test": evaluation_summary(evaluation),
            "headline": headline(evaluation),
            "versions": versions(model.tasks.simulators),
        }
        write_json(self.folder / "result.json", result)
        episodes = [f"return_ep{number}" for number in range(1, evaluation.returns.shape[1] + 1)]
        rows = [
            [str(task), *returns] for task, returns in zip(model.test_tasks, evaluation.returns.tolist(), strict=True)
        ]
        self.tracker.table("test_tasks", ["task", *episodes], rows)
        self.tracker.artifact(self.folder / CHECKPOINT, name=self.name, kind="model")

    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Draw the run's pictures and return their paths."""
        from pearl import plots  # matplotlib, which training starts without

        folder = self.folder / "plots"
        curve = read_progress(self.folder)
        scored = "test/score" in curve
        value = "test/score" if scored else f"test/return_ep{evaluation.returns.shape[1]}"
        low, high = ("test/score_low", "test/score_high") if scored else (value, value)
        learning = plots.learning_curve(
            folder / "learning_curve.png",
            curve["env_steps"],
            curve[value],
            curve[low],
            curve[high],
            label=f"{self.model.family}, seed {self.model.seed}",
            reference_lines={"random policy": 0.0, "task known": 1.0} if scored else {},
            value_name="normalised score" if scored else "return of the last episode",
            wall_s=curve["wall_s"],
        )
        model = self.model
        return [learning, *draw_evaluation(model.agent, model.tasks, model.test_tasks, evaluation, folder)]

    @contextmanager
    def _stop_on_signal(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into a wish to stop; the second acts as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def wish(number: int, frame: object) -> None:
            self.interrupted = True
            signal.signal(number, usual[signal.Signals(number)])

        for number in usual:
            signal.signal(number, wish)
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)


def run_name(family: str, system: str, seed: int) -> str:
    """Return a run's name, FAMILY-seedN; of another system than PEARL FAMILY-AGENT-seedN."""
    return f"{family}-seed{seed}" if system == PEARLConfig.system else f"{family}-{system}-seed{seed}"


def check_unused(folder: Path) -> None:
    """Check that a new run may use ``folder``.

    What a run leaves that was killed before its first checkpoint is no hindrance: there is nothing to resume from.

    Raises:
        RunError: it holds a run already.
    """
    if has_checkpoint(folder / CHECKPOINT):
        raise RunError(
            f"{folder} already holds a run. Continue it with --resume, or choose another folder with --run-dir."
        )
    if (folder / "result.json").exists() or _has_learnt(folder):
        raise RunError(f"{folder} holds the record of a run without its checkpoint. Choose another one with --run-dir.")


def _has_learnt(folder: Path) -> bool:
    """Whether ``progress.csv`` has more than the evaluation before training, which precedes the first checkpoint."""
    try:
        columns = read_progress(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, TypeError, ValueError):  # None of ours, or one that somebody should look at.
        return True
    return bool(columns) and not ("env_steps" in columns and (columns["env_steps"] == 0).all())


def saved_config(folder: Path) -> Config:
    """Return the settings of a run that was stopped or killed.

    Raises:
        RunError: the folder holds no checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    if not has_checkpoint(folder / CHECKPOINT):
        raise RunError(f"{folder} holds no checkpoint to resume from. Start the run anew, without --resume.")
    return load_config(folder)


def resume(
    folder: Path,
    *,
    seed: int | None = None,
    config: Config | None = None,
    distribution: TaskDistribution | None = None,
) -> MetaLearner:
    """Load the model of a run that was stopped or killed.

    Args:
        folder: the run's folder.
        seed: the run's seed, where the caller expects one.
        config: the run's config, where the caller expects one; ``training.total_steps`` and ``training.device`` alone
            may differ, and count.
        distribution: the run's task distribution; needed where the family is not a registered one.

    Raises:
        RunError: the folder holds no checkpoint, or the run has another seed or other settings.
        CheckpointError: the checkpoint is damaged, or of another family than ``distribution``.
    """
    saved = saved_config(folder)
    if config is not None and type(config) is not type(saved):
        raise RunError(f"The run in {folder} trains {saved.system}, not {config.system}: --agent {saved.system}.")
    training = (config or saved).training
    device = training.device if isinstance(training, TrainingConfig) else None
    model = load(folder, distribution=distribution, device=device)
    if seed is not None and seed != model.seed:
        raise RunError(
            f"The run in {folder} has seed {model.seed}, not {seed}; a resumed run keeps its own: --seed {model.seed}."
        )
    if not model.training.can_go_on:
        raise RunError(
            f"The checkpoint in {folder} holds weights alone, so its run cannot go on. Use it with evaluate.py and "
            "adapt.py, or train anew in another folder."
        )
    if config is not None:
        training = replace(model.config.training, total_steps=config.training.total_steps)
        extended = replace(model.config, training=training)
        if config != extended:
            raise RunError(
                "A resumed run keeps its settings, only --total-steps and --training.device may differ. "
                f"Other than in {folder}: "
                + "; ".join(differences(to_mapping(extended), to_mapping(config)))
                + ". Leave these out, or start another run in another --run-dir."
            )
        model.config = model.training.config = extended
    return model


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return what differs between two nested mappings of the same keys, as ``name: old, now new``."""
    found = []
    for name, value in old.items():
        if isinstance(value, Mapping):
            found += differences(value, new[name], f"{prefix}{name}.")
        elif value != new[name]:
            found.append(f"{prefix}{name}: {value}, now {new[name]}")
    return found


def output_folder(trained: Path, wanted: Path | None) -> Path:
    """Return where what is made of a trained agent goes: ``wanted``, else its run folder, else ``runs/NAME``.

    A bare checkpoint folder (a pretrained agent) stays as it is.
    """
    if wanted is not None:
        return wanted
    return trained if (trained / "config.json").exists() else Path("runs") / trained.resolve().name


def read_progress(folder: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the columns of a run's ``progress.csv``; NaN where a row has no value."""
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = rows[0].keys() if rows else ()
    return {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in names}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that ``write_json`` wrote.

    Raises:
        RunError: the file is not there, cannot be read, or holds something else.
    """
    try:
        found = read_json_file(path)
    except (OSError, ValueError) as error:  # ValueError: not JSON as ours is.
        raise RunError(f"Cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} should hold a JSON object, but holds {type(found).__name__}.")
    return found


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)
