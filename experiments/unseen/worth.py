"""Print what z is worth on each problem that was run, and put the table in a page.

    PYTHONPATH=experiments python -m unseen.worth --page docs/one-setting.md

It reads the runs that compare.py and the study kept-z stored in results/unseen/. z is worth 1 where the agent that
infers the task is level with the one that observes it, and 0 where it is level with one policy for all tasks.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from command_line import errors_in_one_line, path_argument
from pages import with_table

import unseen
from pearl.files.access import read_text, write_text
from pearl.process.output import protect_output
from pearl.studies.comparison import STUDY
from pearl.studies.results import PLAIN, RunRecord, Setting, read_results

NAMES = (*unseen.PROBLEMS, "mirrored-cartpole", "mirrored-acrobot")
BLIND, INFERS, TOLD = ALGORITHMS = ("multitask_sac", "pearl", "oracle_sac")
OTHERS = {name: Setting("kept-z", name, INFERS) for name in ("kept-z", "always-follows")}
"""The runs of experiments/configs/kept-z.yaml, and those from before z was kept in half of training's iterations"""
RULES = (*OTHERS, INFERS)
MISSING = "–"


def last_returns(folder: Path) -> dict[str, list[float]]:
    """Return mean returns of the last episode, one of each seed, of each algorithm and of PEARL's other rules for z."""
    found = read_results(folder).runs
    wanted = {algorithm: Setting(STUDY, PLAIN, algorithm) for algorithm in ALGORITHMS} | OTHERS
    return {
        name: [_last(record) for _, record in sorted(found[setting].items())]
        for name, setting in wanted.items()
        if setting in found
    }


def _last(record: RunRecord) -> float:
    return float(np.mean(np.array(record.measured["returns"])[:, -1]))


def table(results: Path) -> str:
    """Return the table of all problems for which one policy and the agent that observes the task were run."""
    lines = [
        "| problem (seeds) | one policy | z kept | always follows | defaults | observes the task | worth: z kept | "
        "always follows | defaults |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        found = last_returns(results / name)
        if BLIND in found and TOLD in found:
            mean = {key: float(np.mean(returns)) for key, returns in found.items()}
            cells = [_number(mean.get(key)) for key in (BLIND, *RULES, TOLD)]
            blind, told = mean[BLIND], mean[TOLD]
            worth = [_number((mean[key] - blind) / (told - blind)) if key in mean else MISSING for key in RULES]
            lines.append(f"| {name} ({len(found[TOLD])}) | {' | '.join(cells + worth)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}".replace("-", "−")


@errors_in_one_line
def main(
    results: Annotated[Path, path_argument("--results")] = Path("results/unseen"),
    page: Annotated[Path, path_argument("--page")] | None = None,
) -> int:
    """Print the table and return the process's exit code.

    Args:
        results: folder with a folder of each problem.
        page: page of findings whose table named unseen is replaced.
    """
    text = table(results)
    print(text)
    if page is not None:
        write_text(page, with_table(read_text(page), "unseen", text))
    return 0


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
