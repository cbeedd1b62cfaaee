"""A run: training of a model in a folder, which can be stopped, resumed and read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pearl.checkpoint.store import has_checkpoint
from pearl.config.reading import to_mapping
from pearl.config.run import Config, PEARLConfig
from pearl.config.training import TrainingConfig
from pearl.evaluation.diagnosis import Finding
from pearl.evaluation.protocol import Evaluation
from pearl.files.access import folder_in
from pearl.model.callbacks import Callback
from pearl.model.loading import load_config
from pearl.model.meta_learner import MetaLearner, load
from pearl.model.saving import CHECKPOINT, describe
from pearl.process.interruption import stop_on_signal
from pearl.process.output import warn_on_failure
from pearl.runs.folder import RunError, cannot_write, lock_run, read_json, read_progress, write_json
from pearl.runs.report import draw_evaluation, result
from pearl.runs.tracker import Tracker
from pearl.runs.wandb_mode import WandbError, WandbMode
from pearl.tasks import TaskDistribution

__all__ = [
    "Run",
    "RunError",
    "check_unused",
    "differences",
    "output_folder",
    "read_json",
    "read_progress",
    "resume",
    "run_name",
    "saved_config",
    "write_json",
]


class Run:
    """Trains a model in a folder, with checkpoints and logs at each evaluation, and pictures at the end.

    The folder contains ``config.json``, ``tasks.json``, ``progress.csv``, ``checkpoint/``, ``plots/`` and, after
    training, ``result.json``.

    Args:
        model: the model to train.
        folder: the run's folder.
        wandb: Weights & Biases mode.
        resume: whether the model comes from this folder's checkpoint and continues its run.

    Raises:
        RunError: the folder contains a run and ``resume`` is False, another run writes to it, or it is not writable; or
            Weights & Biases was requested and cannot start.
    """

    def __init__(self, model: MetaLearner, folder: Path, *, wandb: WandbMode = "auto", resume: bool = False) -> None:
        self._lock = lock_run(folder)
        self.model = model
        self.folder = folder
        self.name = run_name(model.family, model.config.algorithm, model.seed)
        self.interrupted = False
        self.findings: list[Finding] = []
        self._through = False
        try:
            for name in (CHECKPOINT, "plots", "tables"):
                folder_in(folder, name)
            if not resume:
                _check_no_run(folder)
                (folder / "progress.csv").unlink(
                    missing_ok=True
                )  # left by a run that was killed before its first checkpoint
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
                logged_env_steps=max(0, model.next_evaluation - model.config.evaluation.interval),
            )
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise cannot_write(folder, error) from error
            if isinstance(error, WandbError):
                raise RunError(str(error)) from error
            raise
        model.logger = self.tracker.logger

    def train(
        self, callback: Callback = None, on_evaluation: Callable[[dict[str, float]], None] | None = None
    ) -> Evaluation | None:
        """Train to ``training.total_steps``; return the last evaluation, or None if training was interrupted.

        The first Ctrl-C or SIGTERM prints a message, and training ends with a checkpoint after the running iteration. A
        second one ends the process at once. After training, the first one has no effect.

        The result is written before pictures are drawn. A later failure prints a line on stderr.

        Args:
            callback: stable-baselines3 callbacks.
            on_evaluation: called after each evaluation with the evaluation and the logged values.
        """
        with self._lock:
            return self._train(callback, on_evaluation)

    def _train(self, callback: Callback, on_evaluation: Callable[[dict[str, float]], None] | None) -> Evaluation | None:
        last: Evaluation | None = None

        def evaluated(evaluation: Evaluation, metrics: dict[str, float]) -> None:
            nonlocal last
            last = evaluation
            self.save()
            if on_evaluation is not None:
                on_evaluation(metrics)

        with stop_on_signal(self._wish_to_stop):
            try:
                self.model.learn(callback=callback, on_evaluation=evaluated, should_stop=lambda: self.interrupted)
                finished = self.model.num_timesteps >= self.model.config.training.total_steps
                if finished:
                    self._through = True
                    last = self.model.evaluate() if last is None else last
                    with warn_on_failure("the diagnosis was not made"):
                        self.findings = self.model.diagnose(last)
                    write_json(self.folder / "result.json", result(self.model, last, self.findings))
                    self._show(last)
                else:
                    self.save()
            except BaseException:
                self._close_tracker(exit_code=1)
                raise
            self._close_tracker()
        return last if finished else None

    def save(self) -> None:
        """Write the checkpoint."""
        self.model.save(folder_in(self.folder, CHECKPOINT))

    def _close_tracker(self, exit_code: int = 0) -> None:
        with warn_on_failure("the tracker was not closed"):
            self.tracker.close(exit_code)

    def _show(self, evaluation: Evaluation) -> None:
        """Draw the pictures and send everything to the trackers; each failure prints a line on stderr."""
        model, tracker = self.model, self.tracker
        episodes = [f"return_ep{number}" for number in range(1, evaluation.returns.shape[1] + 1)]
        rows = [
            [str(task), *returns] for task, returns in zip(model.test_tasks, evaluation.returns.tolist(), strict=True)
        ]
        with warn_on_failure("the table of test tasks was not written"):
            tracker.table("test_tasks", ["task", *episodes], rows)
            tracker.table("diagnosis", list(Finding._fields), [list(finding) for finding in self.findings])
        paths: list[Path] = []
        with warn_on_failure("pictures were not drawn"):
            paths = self.draw(evaluation)
        for path in paths:
            with warn_on_failure(f"{path} was not sent to the trackers"):
                tracker.image(f"plots/{path.stem}", path, model.num_timesteps)
        with warn_on_failure("the checkpoint was not stored as an artifact"):
            tracker.artifact(self.folder / CHECKPOINT, name=self.name, kind="model")

    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Draw the run's pictures and return their paths."""
        folder = self.folder / "plots"
        paths: list[Path] = []
        with warn_on_failure("the learning curve was not drawn"):
            paths.append(self._draw_learning_curve(evaluation, folder / "learning_curve.png"))
        model = self.model
        return paths + draw_evaluation(model.agent, model.task_distribution, model.test_tasks, evaluation, folder)

    def _draw_learning_curve(self, evaluation: Evaluation, path: Path) -> Path:
        from pearl import plots  # imports matplotlib late: training does not need it

        curve = read_progress(self.folder)
        scored = "test/score" in curve
        value = "test/score" if scored else f"test/return_ep{evaluation.returns.shape[1]}"
        low, high = ("test/score_low", "test/score_high") if scored else (value, value)
        return plots.learning_curve(
            path,
            curve["env_steps"],
            curve[value],
            curve[low],
            curve[high],
            label=f"{self.model.family}, seed {self.model.seed}",
            reference_lines={"random policy": 0.0, "task known": 1.0} if scored else {},
            value_name="normalised score" if scored else "return of the last episode",
            wall_s=curve["wall_s"],
        )

    def _wish_to_stop(self) -> str:
        self.interrupted = True
        if self._through:
            return "training is finished; the run ends after drawing its pictures."
        return "stopping after the running iteration; then the checkpoint is written."


def run_name(family: str, algorithm: str, seed: int) -> str:
    """Return a run's name: FAMILY-seedN for PEARL, FAMILY-ALGORITHM-seedN for other algorithms."""
    return f"{family}-seed{seed}" if algorithm == PEARLConfig.algorithm else f"{family}-{algorithm}-seed{seed}"


def check_unused(folder: Path) -> None:
    """Check that a new run may use ``folder``.

    A run that was killed before its first checkpoint leaves nothing to resume; its files may be overwritten.

    Raises:
        RunError: another process writes to the folder, or it already contains a run.
    """
    if folder.is_dir():
        lock_run(folder).release()
    _check_no_run(folder)


def _check_no_run(folder: Path) -> None:
    if has_checkpoint(folder / CHECKPOINT):
        raise RunError(
            f"{folder} already holds a run. Continue it with --resume, or choose another folder with --run-dir."
        )
    if (folder / "result.json").exists() or _has_learnt(folder):
        raise RunError(
            f"{folder} holds a run's progress.csv without its checkpoint. Choose another folder with --run-dir."
        )


def _has_learnt(folder: Path) -> bool:
    """Return whether ``progress.csv`` has more rows than the evaluation before training, which has no checkpoint."""
    try:
        columns = read_progress(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, TypeError, ValueError):  # Not ours, or damaged: keep it for the user to inspect.
        return True
    return bool(columns) and not ("env_steps" in columns and (columns["env_steps"] == 0).all())


def saved_config(folder: Path) -> Config:
    """Return the settings of a run that was stopped or killed.

    Raises:
        RunError: the folder contains no checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    if not has_checkpoint(folder / CHECKPOINT):
        raise RunError(f"{folder} holds no checkpoint to resume from. Start a new run, without --resume.")
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
        seed: the expected seed; None accepts any.
        config: the expected config; None accepts any. Only ``training.total_steps`` and ``training.device`` may
            differ; the run then continues with the new values.
        distribution: the run's task distribution; needed if the family is not registered.

    Raises:
        RunError: the folder contains no checkpoint, or the run has another seed or other settings.
        CheckpointError: the checkpoint is damaged, or belongs to another family than ``distribution``.
    """
    saved = saved_config(folder)
    if config is not None and type(config) is not type(saved):
        raise RunError(
            f"The run in {folder} trains {saved.algorithm}, not {config.algorithm}: --algorithm {saved.algorithm}."
        )
    training = (config or saved).training
    device = training.device if isinstance(training, TrainingConfig) else None
    model = load(folder, distribution=distribution, device=device)
    if seed is not None and seed != model.seed:
        raise RunError(
            f"The run in {folder} has seed {model.seed}, not {seed}; a resumed run keeps its own: --seed {model.seed}."
        )
    if not model.training.can_resume:
        raise RunError(
            f"The checkpoint in {folder} holds only weights, so its run cannot be resumed. Use it with evaluate.py and "
            "adapt.py, or start a new run in another folder."
        )
    if config is not None:
        training = replace(model.config.training, total_steps=config.training.total_steps)
        extended = replace(model.config, training=training)
        config = model.filled(config)
        if config != extended:
            raise RunError(
                "A resumed run keeps its settings; only --total-steps and --training.device may differ. "
                f"Changed from {folder}: "
                + "; ".join(differences(to_mapping(extended), to_mapping(config)))
                + ". Leave these out, or start another run in another --run-dir."
            )
        model.config = model.training.config = extended
    return model


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the differences between two nested mappings of the same keys, as ``name: old, now new``."""
    found = []
    for name, value in old.items():
        if isinstance(value, Mapping):
            found += differences(value, new[name], f"{prefix}{name}.")
        elif value != new[name]:
            found.append(f"{prefix}{name}: {value}, now {new[name]}")
    return found


def output_folder(trained: Path, wanted: Path | None) -> Path:
    """Return the output folder of a trained agent's evaluations: ``wanted``, else its run folder, else ``runs/NAME``.

    Nothing is written to a bare checkpoint folder (a pretrained agent).
    """
    if wanted is not None:
        return wanted
    return trained if (trained / "config.json").exists() else Path("runs") / trained.resolve().name
