"""Reproduce a family's published result: train several seeds, probe them, and write the results.

    python experiments/reproduce.py point-robot
    python experiments/reproduce.py varying-cartpole --blind
    python experiments/reproduce.py ant-forward-backward --seeds 0 --total-steps 360000

Writes every seed's curve, tasks, settings and final measurements to results/FAMILY/, draws learning_curves.png there,
and keeps the other pictures of the first seed. A seed's earlier result is replaced. --blind trains the same settings
with the blind encoder, which leaves z at zero: a reference that cannot infer its task. --total-steps N makes runs
longer or shorter than the preset's. The results list the runs of each flag as a separate setting.
"""

import dataclasses
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from command_line import errors_in_one_line, path_argument
from tyro.conf import Positional

import pearl
from pearl.config.run import load_preset
from pearl.files.access import copy
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.console import TrainingProgress
from pearl.runs.run import Run, RunError, read_json, read_progress, write_json
from pearl.studies.probes import calibration, probe
from pearl.studies.reproduction import PICTURE, STUDY, by_setting, draw, setting_name, summary
from pearl.studies.results import PLAIN, RunRecord, Setting, read_results, settings_of, store_run
from pearl.studies.runner import DIRTY, measurements
from pearl.tasks import make

NAMED_BY_THE_SETTING = ("family", "algorithm", "seed", "commit")
"""Entries of result.json that the results store in a run's identity"""


def main(
    family: Positional[str],
    /,
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Annotated[Path, path_argument("--out")] = Path("results"),
    runs: Annotated[Path, path_argument("--runs")] = Path("runs/reproduce"),
    threads: int = 1,
    blind: bool = False,
    total_steps: int | None = None,
) -> None:
    """Train a family's preset with several seeds, one after the other.

    Args:
        family: name of the task family.
        seeds: seeds of the runs.
        out: folder of the results.
        runs: folder of the runs, checkpoints included.
        threads: CPU threads.
        blind: leave z at zero.
        total_steps: environment steps of a run; the preset's number if None.
    """
    use_threads(threads)
    make(family)  # Report mistakes before anything is written.
    console = make_console()
    checked_out = commit()  # Before the first result is written: it changes the working tree.
    config = load_preset(family)
    if blind:
        config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, kind="blind"))
    if total_steps is not None:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, total_steps=total_steps))
    setting = Setting(STUDY, setting_name(blind=blind, total_steps=total_steps), config.algorithm)
    for number, seed in enumerate(seeds):
        name = f"seed{seed}" if setting.name == PLAIN else f"{setting.name}-seed{seed}"
        folder = runs / f"{family}-{name}"
        console.print(f"{family}, {name.replace('seed', 'seed ')}")
        model = pearl.PEARL(family, config, seed=seed)
        run = Run(model, folder, wandb="disabled")
        progress = TrainingProgress(console)
        last = run.train(callback=progress, on_evaluation=progress.evaluated)
        if last is None:
            sys.exit(130)
        longest = model.horizon * model.config.evaluation.exploration_episodes
        seen = [n for n in (5, 10, 20, 40, 100) if n <= longest]
        result: dict[str, Any] = read_json(folder / "result.json")
        if not blind:
            result["probes"] = probe(model)
            result["calibration"] = dict(zip(map(str, seen), calibration(model, seen).tolist(), strict=True))
        result |= {"commit": checked_out, "threads": threads}
        write_json(folder / "result.json", result)
        record = RunRecord(
            commit=checked_out,
            config=settings_of(config),
            curve=read_progress(folder),
            measured={
                **measurements(model, last),
                "train_tasks": [task.to_json() for task in model.train_tasks],
                "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
                **{name: value for name, value in result.items() if name not in NAMED_BY_THE_SETTING},
            },
        )
        store_run(out / family, setting, config, seed, record, replace=True)
        if number == 0 and setting.name == PLAIN:
            with warn_on_failure("the pictures were not copied"):
                for path in sorted((folder / "plots").glob("*.png")):
                    if path.stem != "learning_curve":  # learning_curves.png has it.
                        copy(path, out / family / path.name)
    found = by_setting(read_results(out / family))
    if setting.name not in found:
        raise RunError(f"{out / family} holds no runs of the setting {setting.name!r}. Name a seed to train.")
    with warn_on_failure("the learning curves were not drawn"):
        draw(out / family / PICTURE, family, found)
    console.print_json(data=summary(family, found[setting.name]))


def commit() -> str:
    """Return the current commit, marked if files other than the results differ from it.

    Raises:
        RunError: git is not installed, or cannot read the repository.
    """
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=root)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise RunError(f"Results name their commit, but git cannot read the commit of {root}: {reason}") from error
        return done.stdout.strip()

    differing = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    return git("rev-parse", "HEAD") + (DIRTY if differing else "")


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
