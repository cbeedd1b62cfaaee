"""The published runs of a family's preset: their summary and their learning curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pearl import plots
from pearl.studies.results import PLAIN, FamilyResults, Runs, value_column

STUDY = "reproduction"
"""Name of this study in a family's results"""
BLIND = "blind"
"""The setting with the blind encoder: z is always zero"""
PICTURE = "learning_curves.png"
"""Name of the picture in a family's folder"""


def setting_name(*, blind: bool, total_steps: int | None) -> str:
    """Return the name of a setting: ``plain``, ``blind``, ``48000-steps``, ``blind-48000-steps``."""
    parts = [*([BLIND] if blind else []), *([] if total_steps is None else [f"{total_steps}-steps"])]
    return "-".join(parts) or PLAIN


def by_setting(results: FamilyResults) -> dict[str, Runs]:
    """Return the published runs of each setting, the plain setting first."""
    found = {setting.name: runs for setting, runs in results.of_study(STUDY).items()}
    return dict(sorted(found.items(), key=lambda item: (item[0] != PLAIN, item[0])))


def summary(family: str, by_seed: Runs) -> dict[str, Any]:
    """Return the figures of a setting over its seeds."""
    seeds, runs = sorted(by_seed), [by_seed[seed].measured for seed in sorted(by_seed)]
    tests = [run["test"] for run in runs]
    scores = None if tests[0]["score"] is None else [test["score"] for test in tests]
    successes = None if tests[0].get("success_per_episode") is None else [test["success_per_episode"] for test in tests]
    probes, calibrations = ([run.get(name, {}) for run in runs] for name in ("probes", "calibration"))
    return {
        "family": family,
        "seeds": seeds,
        "commit": ", ".join(sorted({run.commit for run in by_seed.values()})),
        "machine": runs[0]["machine"],
        "threads": [run["threads"] for run in runs],
        "env_steps": [run["env_steps"] for run in runs],
        "gradient_steps": [run["gradient_steps"] for run in runs],
        "wall_s": [round(run["wall_s"], 1) for run in runs],
        "score": [test["score"] for test in tests],
        "score_mean": None if scores is None else float(np.mean(scores)),
        "last_return": [test["return_per_episode"][-1] for test in tests],
        "last_cvar": [(test.get("cvar_per_episode") or [None])[-1] for test in tests],
        "success_per_episode_mean": None if successes is None else np.mean(successes, axis=0).tolist(),
        "return_per_episode_mean": np.mean([test["return_per_episode"] for test in tests], axis=0).tolist(),
        "probes_mean": {name: float(np.mean([found[name] for found in probes])) for name in probes[0]},
        "calibration_mean": {seen: float(np.mean([run[seen] for run in calibrations])) for seen in calibrations[0]},
        "versions": runs[0]["versions"],
    }


def draw(path: Path, family: str, found: Mapping[str, Runs]) -> Path:
    """Draw every seed's curve; blind runs and runs with a budget of their own have separate labels."""
    curves, values = [], []
    for name, runs in found.items():
        for _, run in sorted(runs.items()):
            values.append(value_column(run.curve))
            curves.append((_label(family, name), run.curve["env_steps"], run.curve[values[-1]]))
    scored = values[0] == "test/score"
    n_seeds = len(found.get(PLAIN, {}))
    return plots.learning_curves(
        path,
        curves,
        title=f"{family}: {n_seeds} seed{'s' if n_seeds > 1 else ''}",
        reference_lines={"random policy": 0.0, "task known": 1.0} if scored else {},
        value_name="normalised score" if scored else "return of the last episode",
    )


def _label(family: str, name: str) -> str:
    blind, steps = name.startswith(BLIND), name.removeprefix(BLIND).removeprefix("-").removesuffix("-steps")
    label = "no task variable" if blind else family
    if not steps or name == PLAIN:
        return label
    budget = f"{int(steps):,} steps".replace(",", " ")
    return f"{label}, {budget}" if blind else budget
