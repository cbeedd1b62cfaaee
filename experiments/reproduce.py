"""Reproduce a family's published result: train several seeds, probe them, and write what results/ holds.

    python experiments/reproduce.py point-robot
    python experiments/reproduce.py varying-cartpole --blind
    python experiments/reproduce.py ant-forward-backward --seeds 0 --total-steps 360000

Writes results/FAMILY/seedN/ (config, tasks, progress, result, pictures) and results/FAMILY/summary.json. With --blind
it trains the same settings with the blind encoder, which leaves z at zero, and writes results/FAMILY/blind-seedN/ and
blind-summary.json: what a policy reaches that cannot know its task. With --total-steps N runs are longer or
shorter than the preset's, and "N-steps-" stands before the names.
"""

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from command_line import errors_in_one_line, path_argument
from tyro.conf import Positional

import pearl
from pearl import plots
from pearl.config.run import load_preset
from pearl.files.access import copy
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.console import TrainingProgress
from pearl.runs.run import Run, RunError, read_json, read_progress, write_json
from pearl.studies.probes import calibration, probe
from pearl.tasks import make

KEPT = ("config.json", "tasks.json", "progress.csv", "result.json")


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
        seeds: one run each.
        out: folder of the results.
        runs: folder of the runs, checkpoints included.
        threads: CPU threads.
        blind: leave z at zero.
        total_steps: environment steps of a run; the preset's where None.
    """
    use_threads(threads)
    make(family)  # A slip shall show before anything is written.
    console = make_console()
    checked_out = commit()  # Before the first result is written, which the working tree would differ by.
    config = load_preset(family)
    prefix = ""
    if blind:
        prefix += "blind-"
        config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, kind="blind"))
    if total_steps is not None:
        prefix += f"{total_steps}-steps-"
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, total_steps=total_steps))
    for seed in seeds:
        folder = runs / f"{family}-{prefix}seed{seed}"
        console.print(f"{family}, {prefix}seed {seed}")
        model = pearl.PEARL(family, config, seed=seed)
        run = Run(model, folder, wandb="disabled")
        progress = TrainingProgress(console)
        if run.train(callback=progress, on_evaluation=progress.evaluated) is None:
            sys.exit(130)
        longest = model.horizon * model.config.evaluation.exploration_episodes
        seen = [n for n in (5, 10, 20, 40, 100) if n <= longest]
        result: dict[str, Any] = read_json(folder / "result.json")
        if not blind:
            result["probes"] = probe(model)
            result["calibration"] = dict(zip(map(str, seen), calibration(model, seen).tolist(), strict=True))
        result |= {"commit": checked_out, "threads": threads}
        write_json(folder / "result.json", result)
        kept = out / family / f"{prefix}seed{seed}"
        for name in KEPT:
            copy(folder / name, kept / name)
        with warn_on_failure("the pictures were not copied"):
            for path in sorted((folder / "plots").glob("*.png")):
                copy(path, kept / path.relative_to(folder))
    found = summary(family, sorted((out / family).glob(f"{prefix}seed*")))
    write_json(out / family / f"{prefix}summary.json", found)
    with warn_on_failure("the learning curves were not drawn"):
        draw_curves(family, out / family)
    console.print_json(data=found)


def draw_curves(family: str, folder: Path) -> None:
    """Draw every seed's curve in ``folder``; blind ones and those of another budget are lines of their own, behind."""
    curves = []
    for path in sorted(folder.glob("*seed*"), key=lambda path: (not path.name.startswith("seed"), path.name)):
        result = read_json(path / "result.json")
        scored = result["test"]["score"] is not None
        value = "test/score" if scored else f"test/return_ep{len(result['test']['return_per_episode'])}"
        progress = read_progress(path)
        blind, own_budget = path.name.startswith("blind-"), path.name.removeprefix("blind-").partition("-steps-")
        label = "no task variable" if blind else family
        if own_budget[1]:
            steps = f"{int(own_budget[0]):,} steps".replace(",", " ")
            label = f"{label}, {steps}" if blind else steps
        curves.append((label, progress["env_steps"], progress[value]))
    n_seeds = len(list(folder.glob("seed*")))
    plots.learning_curves(
        folder / "learning_curves.png",
        curves,
        title=f"{family}: {n_seeds} seed{'s' if n_seeds > 1 else ''}",
        reference_lines={"random policy": 0.0, "task known": 1.0} if scored else {},
        value_name="normalised score" if scored else "return of the last episode",
    )


def summary(family: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Return what the results in ``folders``, one per seed, come to; they may stem from several calls."""
    runs = [read_json(folder / "result.json") for folder in folders]
    scores = None if runs[0]["test"]["score"] is None else [run["test"]["score"] for run in runs]
    probes, calibrations = ([run.get(name, {}) for run in runs] for name in ("probes", "calibration"))
    return {
        "family": family,
        "seeds": [run["seed"] for run in runs],
        "commit": ", ".join(sorted({run["commit"] for run in runs})),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "threads": [run.get("threads", 1) for run in runs],
        "env_steps": [run["env_steps"] for run in runs],
        "gradient_steps": [run["gradient_steps"] for run in runs],
        "wall_s": [round(run["wall_s"], 1) for run in runs],
        "score": [run["test"]["score"] for run in runs],
        "score_mean": None if scores is None else float(np.mean(scores)),
        "last_return": [run["test"]["return_per_episode"][-1] for run in runs],
        "success_per_episode_mean": None
        if runs[0]["test"].get("success_per_episode") is None
        else np.mean([run["test"]["success_per_episode"] for run in runs], axis=0).tolist(),
        "return_per_episode_mean": np.mean([run["test"]["return_per_episode"] for run in runs], axis=0).tolist(),
        "probes_mean": {name: float(np.mean([found[name] for found in probes])) for name in probes[0]},
        "calibration_mean": {seen: float(np.mean([run[seen] for run in calibrations])) for seen in calibrations[0]},
        "versions": runs[0]["versions"],
    }


def commit() -> str:
    """Return the commit that is checked out, marked where anything but the results differs from it.

    Raises:
        RunError: git is not installed, or there is no repository that it may read.
    """
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=root)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise RunError(f"Results name their commit, but git cannot tell that of {root}: {reason}") from error
        return done.stdout.strip()

    differing = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    return git("rev-parse", "HEAD") + ("-dirty" if differing else "")


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
