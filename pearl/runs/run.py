"""A run: a folder in which a model is trained, so that it can be stopped, resumed and read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pearl.checkpoint.store import has_checkpoint
from pearl.config.reading import to_mapping
from pearl.config.run import Config, PEARLConfig
from pearl.config.training import TrainingConfig
from pearl.evaluation.protocol import Evaluation
from pearl.files.access import folder_in
from pearl.model.callbacks import Callback
from pearl.model.loading import load_config
from pearl.model.meta_learner import MetaLearner, load
from pearl.model.saving import CHECKPOINT, describe, versions
from pearl.process.interruption import stop_on_signal
from pearl.process.output import warn_on_failure
from pearl.runs.folder import RunError, cannot_write, lock_run, read_json, read_progress, write_json
from pearl.runs.report import draw_evaluation, evaluation_summary, headline
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
    """Trains a model in a folder: checkpoints at each evaluation, tracks, draws, and says how it ended.

    The folder holds ``config.json``, ``tasks.json``, ``progress.csv``, ``checkpoint/``, ``plots/`` and, once training
    is through, ``result.json``.

    Args:
        model: what is trained.
        folder: the run's folder.
        wandb: Weights & Biases mode.
        resume: the model comes from this folder's checkpoint and goes on.

    Raises:
        RunError: the folder holds a run and ``resume`` is False, another run writes to it, or it cannot be written; or
            Weights & Biases was asked for and cannot start.
    """

    def __init__(self, model: MetaLearner, folder: Path, *, wandb: WandbMode = "auto", resume: bool = False) -> None:
        self._lock = lock_run(folder)
        self.model = model
        self.folder = folder
        self.name = run_name(model.family, model.config.algorithm, model.seed)
        self.interrupted = False
        self._through = False
        try:
            for name in (CHECKPOINT, "plots", "tables"):
                folder_in(folder, name)
            if not resume:
                _check_no_run(folder)
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
        """Train to ``training.total_steps``; return the last evaluation, or None where it was interrupted.

        The first Ctrl-C or SIGTERM ends training after the running iteration, with a checkpoint, and says so at once; a
        second one ends it at once. Once training is through, the first one changes nothing.

        The result is written before anything is drawn. What then fails is a line on stderr.

        Args:
            callback: stable-baselines3 callbacks.
            on_evaluation: told what each evaluation logged.
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
                    self._write_result(last)
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

    def _write_result(self, evaluation: Evaluation) -> None:
        model = self.model
        result = {
            "family": model.family,
            "algorithm": model.config.algorithm,
            "seed": model.seed,
            "env_steps": model.num_timesteps,
            "gradient_steps": model.training.gradient_steps,
            "wall_s": model.wall_s,
            "test": evaluation_summary(evaluation),
            "headline": headline(evaluation),
            "versions": versions(model.task_distribution.simulators),
        }
        write_json(self.folder / "result.json", result)

    def _show(self, evaluation: Evaluation) -> None:
        """Draw, and send everything to the trackers; whatever fails is a line on stderr."""
        model, tracker = self.model, self.tracker
        episodes = [f"return_ep{number}" for number in range(1, evaluation.returns.shape[1] + 1)]
        rows = [
            [str(task), *returns] for task, returns in zip(model.test_tasks, evaluation.returns.tolist(), strict=True)
        ]
        with warn_on_failure("the table of test tasks was not written"):
            tracker.table("test_tasks", ["task", *episodes], rows)
        paths: list[Path] = []
        with warn_on_failure("pictures were not drawn"):
            paths = self.draw(evaluation)
        for path in paths:
            with warn_on_failure(f"{path} was not sent to the trackers"):
                tracker.image(f"plots/{path.stem}", path, model.num_timesteps)
        with warn_on_failure("the checkpoint was not stored as an artifact"):
            tracker.artifact(self.folder / CHECKPOINT, name=self.name, kind="model")

    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Draw the run's pictures and return the paths of those that were drawn."""
        folder = self.folder / "plots"
        paths: list[Path] = []
        with warn_on_failure("the learning curve was not drawn"):
            paths.append(self._draw_learning_curve(evaluation, folder / "learning_curve.png"))
        model = self.model
        return paths + draw_evaluation(model.agent, model.task_distribution, model.test_tasks, evaluation, folder)

    def _draw_learning_curve(self, evaluation: Evaluation, path: Path) -> Path:
        from pearl import plots  # matplotlib, which training starts without

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
            return "training is through, the run ends once its pictures are drawn."
        return "stopping after the running iteration; then the checkpoint is written."


def run_name(family: str, algorithm: str, seed: int) -> str:
    """Return a run's name, FAMILY-seedN; of another algorithm than PEARL FAMILY-ALGORITHM-seedN."""
    return f"{family}-seed{seed}" if algorithm == PEARLConfig.algorithm else f"{family}-{algorithm}-seed{seed}"


def check_unused(folder: Path) -> None:
    """Check that a new run may use ``folder``.

    What a run leaves that was killed before its first checkpoint is no hindrance: there is nothing to resume from.

    Raises:
        RunError: another process writes to it, or it holds a run already.
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
