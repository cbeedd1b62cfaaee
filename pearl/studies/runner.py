"""Training of a study's missing runs; each is stored as soon as it is finished."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pearl.checkpoint.store import has_checkpoint
from pearl.config.run import Config
from pearl.evaluation.protocol import Evaluation
from pearl.model.meta_learner import MetaLearner, learner_of, load
from pearl.model.saving import CHECKPOINT
from pearl.runs.folder import RunError, read_json, read_progress, write_json
from pearl.runs.run import Run, resume, saved_config
from pearl.studies.results import FloatArray, RunRecord, Setting, check_settings, read_results, settings_of, store_run

DIRTY = "-dirty"
"""End of the name of a commit whose working tree differs from it"""
DIGITS = 4
"""Decimals of a task's returns and references in the results"""


def train_missing(
    folder: Path,
    family: str,
    wanted: Mapping[Setting, Config],
    seeds: Sequence[int],
    *,
    commit: str,
    runs: Path,
    trial_episodes: int | None = None,
    announce: Callable[[str], None],
) -> bool:
    """Train the runs that are missing in a family's results, seed by seed, and store each as soon as it is finished.

    Args:
        folder: the folder of the family's results.
        family: the family's name.
        wanted: the config of each setting.
        seeds: seeds of the runs; each setting is trained with each seed.
        commit: the current commit.
        runs: folder of the runs. A run that was stopped is continued there, by the same commit only; if the commit
            ends in ``DIRTY``, not at all.
        trial_episodes: episodes of a longer trial at the end of each run, as for ``train``.
        announce: called with a line about each run before it begins.

    Returns:
        Whether all runs are finished; False after Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the folder holds runs of a setting with another config; nothing is trained then.
        RunError: the results cannot be read, or a run's folder holds a run of other settings.
    """
    for setting, config in wanted.items():
        check_settings(folder, setting, config)
    # Uncommitted code has no name of its own: its runs begin anew each time.
    begun = f"{commit}-{time.time_ns()}" if commit.endswith(DIRTY) else commit
    for seed in seeds:
        for setting, config in wanted.items():
            if seed in read_results(folder).runs.get(setting, {}):
                continue
            shown = setting.algorithm if setting.study == "comparison" else setting.name
            announce(f"{family}, {shown}, seed {seed}")
            name = "-".join((family, setting.study, setting.name, setting.algorithm, f"seed{seed}"))
            own = runs / begun / re.sub(r"[^\w.-]", "-", name)
            record, stopped = train(family, config, seed, folder=own, commit=commit, trial_episodes=trial_episodes)
            if record is None:
                return False
            # As asked for: settings that follow from the episodes' length stay unset.
            store_run(folder, setting, config, seed, dataclasses.replace(record, config=settings_of(config)))
            if stopped:
                return False
    return True


def train(
    family: str, config: Config, seed: int, *, folder: Path, commit: str, trial_episodes: int | None = None
) -> tuple[RunRecord | None, bool]:
    """Train one run, or continue it.

    Args:
        family: the family's name.
        config: the run's settings.
        seed: the run's seed.
        folder: the run's folder; ``publish.py`` turns it into a pretrained agent.
        commit: the current commit.
        trial_episodes: episodes of a longer trial of the test tasks, with the protocol's exploration episodes. It has
            at least the protocol's episodes. None plays no such trial.

    Returns:
        Its results, None if it is not finished, and whether Ctrl-C or SIGTERM asked to stop.

    Raises:
        RunError: the folder holds a run of other settings, or is not writable.
    """
    continued = has_checkpoint(folder / CHECKPOINT)
    try:
        if continued and (steps := saved_config(folder).training.total_steps) != config.training.total_steps:
            raise RunError(f"It holds a run of {steps:,} steps, not {config.training.total_steps:,}.")
        model = resume(folder, seed=seed, config=config) if continued else learner_of(config)(family, config, seed=seed)
        run = Run(model, folder, wandb="disabled", resume=continued)
    except RunError as error:
        raise RunError(f"{folder} cannot be used. Remove it, or choose another place with --runs. {error}") from error
    last = run.train()
    if last is None:
        return None, True
    write_json(folder / "result.json", read_json(folder / "result.json") | {"commit": commit, "threads": 1})
    return _record(model, read_progress(folder), last, commit, trial_episodes), run.interrupted


def measure(folder: Path, *, trial_episodes: int) -> tuple[MetaLearner, RunRecord]:
    """Load a finished run and return its model, and the results that ``train`` would have returned.

    Args:
        folder: the run's folder.
        trial_episodes: episodes of the longer trial, as for ``train``.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        RunError: the run is not finished.
    """
    model = load(folder)
    if not (folder / "result.json").is_file():
        raise RunError(f"The run in {folder} is not finished. Continue it with train.py --resume.")
    commit = read_json(folder / "result.json").get("commit", "unknown")
    return model, _record(model, read_progress(folder), model.evaluate(), commit, trial_episodes)


def measurements(model: MetaLearner, last: Evaluation, trial_episodes: int | None = None) -> dict[str, Any]:
    """Return the measurements of a trained model that every study keeps.

    Args:
        model: the trained model.
        last: the evaluation at the end of training.
        trial_episodes: as for ``train``.
    """
    references = last.references
    found = {
        "test_tasks": [task.to_json() for task in model.test_tasks],
        "references": {
            "random": [round(end, DIGITS) for end in references.random_by_task],
            "oracle": [round(end, DIGITS) for end in references.oracle_by_task] or None,
        },
        "returns": last.returns.round(DIGITS).tolist(),
        "gradient_steps_at_test": model.agent.gradient_steps_per_trial,
        "wall_s": round(model.wall_s, 1),
    }
    if trial_episodes is not None:
        trial = model.evaluate(episodes=max(trial_episodes, model.config.evaluation.episodes))
        found["trial_returns"] = trial.returns.round(DIGITS).tolist()
    return found


def _record(
    model: MetaLearner, curve: Mapping[str, FloatArray], last: Evaluation, commit: str, trial_episodes: int | None
) -> RunRecord:
    measured = measurements(model, last, trial_episodes)
    return RunRecord(commit=commit, config=settings_of(model.config), curve=curve, measured=measured)
