"""Reproduce a family's published result: train several seeds, probe them, and write what results/ holds.

    python experiments/reproduce.py point-robot

Writes results/FAMILY/seedN/ (config, tasks, progress, result, pictures) and results/FAMILY/summary.json.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from tyro.conf import Positional

import pearl
from pearl import plots
from pearl.console import TrainingProgress
from pearl.probes import calibration, probe
from pearl.run import Run, read_progress, write_json

KEPT = ("config.json", "tasks.json", "progress.csv", "result.json")


def main(
    family: Positional[str],
    /,
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("results"),
    runs: Path = Path("runs/reproduce"),
) -> None:
    """Train a family's preset with several seeds on one CPU thread each, one after the other.

    Args:
        family: name of the task family.
        seeds: one run each.
        out: folder of the results.
        runs: folder of the runs, checkpoints included.
    """
    torch.set_num_threads(1)
    console = Console()
    results = {}
    for seed in seeds:
        folder = runs / f"{family}-seed{seed}"
        console.print(f"{family}, seed {seed}")
        model = pearl.PEARL(family, seed=seed)
        run = Run(model, folder, wandb="disabled")
        progress = TrainingProgress(console)
        if run.train(callback=progress, on_evaluation=progress.evaluated) is None:
            sys.exit(130)
        longest = model.horizon * model.config.evaluation.exploration_episodes
        seen = [n for n in (5, 10, 20, 40, 100) if n <= longest]
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        result["probes"] = probe(model)
        result["calibration"] = dict(zip(map(str, seen), calibration(model, seen).tolist(), strict=True))
        result["commit"] = commit()
        write_json(folder / "result.json", result)
        results[seed] = result
        for name in KEPT:
            (out / family / f"seed{seed}").mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, out / family / f"seed{seed}" / name)
        shutil.copytree(folder / "plots", out / family / f"seed{seed}" / "plots", dirs_exist_ok=True)
    write_json(out / family / "summary.json", summary(family, results))
    curves = [(family, read_progress(runs / f"{family}-seed{seed}")) for seed in seeds]
    plots.learning_curves(
        out / family / "learning_curves.png",
        [(label, curve["env_steps"], curve["test/score"]) for label, curve in curves],
        title=f"{family}: {len(seeds)} seeds",
        reference_lines={"random policy": 0.0, "task known": 1.0},
    )
    console.print_json(data=summary(family, results))


def summary(family: str, results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return what the seeds' results come to."""
    runs = list(results.values())
    return {
        "family": family,
        "seeds": list(results),
        "commit": commit(),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "threads": 1},
        "env_steps": [run["env_steps"] for run in runs],
        "gradient_steps": [run["gradient_steps"] for run in runs],
        "wall_s": [round(run["wall_s"], 1) for run in runs],
        "score": [run["test"]["score"] for run in runs],
        "score_mean": float(np.mean([run["test"]["score"] for run in runs])),
        "return_per_episode_mean": np.mean([run["test"]["return_per_episode"] for run in runs], axis=0).tolist(),
        "probes_mean": {name: float(np.mean([run["probes"][name] for run in runs])) for name in runs[0]["probes"]},
        "calibration_mean": {
            seen: float(np.mean([run["calibration"][seen] for run in runs])) for seen in runs[0]["calibration"]
        },
        "versions": runs[0]["versions"],
    }


def commit() -> str:
    """Return the commit that is checked out, marked where the working tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip()


if __name__ == "__main__":
    tyro.cli(main)
