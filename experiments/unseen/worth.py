"""Print what z is worth on each problem that was run, and put the table in a page.

    PYTHONPATH=experiments python -m unseen.worth --page docs/one-setting.md

It reads the runs that compare.py stored in results/unseen/. z is worth 1 where the agent that infers the task is level
with the one that observes it, and 0 where it is level with one policy for all tasks.
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
from pearl.studies.results import RunRecord, read_results

NAMES = (*unseen.PROBLEMS, "mirrored-cartpole", "mirrored-acrobot")
BLIND, INFERS, TOLD = ALGORITHMS = ("multitask_sac", "pearl", "oracle_sac")


def last_returns(folder: Path) -> dict[str, list[float]]:
    """Return each algorithm's mean returns of the last episode, one of each seed; none for algorithms not run."""
    compared = read_results(folder).of_study(STUDY)
    return {
        setting.algorithm: [_last(record) for _, record in sorted(runs.items())] for setting, runs in compared.items()
    }


def _last(record: RunRecord) -> float:
    return float(np.mean(np.array(record.measured["returns"])[:, -1]))


def table(results: Path) -> str:
    """Return the table of all problems for which the three algorithms were run."""
    lines = [
        "| problem (seeds) | one policy | infers the task | observes the task | z is worth |",
        "|---|---|---|---|---|",
    ]
    for name in NAMES:
        found = last_returns(results / name)
        if all(algorithm in found for algorithm in ALGORITHMS):
            blind, infers, told = (float(np.mean(found[algorithm])) for algorithm in ALGORITHMS)
            cells = [_number(value) for value in (blind, infers, told)]
            worth = _number((infers - blind) / (told - blind))
            lines.append(f"| {name} ({len(found[INFERS])}) | {' | '.join(cells)} | {worth} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


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
