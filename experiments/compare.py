"""Train several algorithms on a family, with the same tasks and protocol, and set what they reach side by side.

    python experiments/compare.py point-robot --algorithms pearl rl2 maml
    python experiments/compare.py point-robot --seeds 0 1 2 3 4 --total-steps 100000 --page docs/comparison.md
    python experiments/compare.py point-robot --import my_algorithm --algorithms pearl my_algorithm
    python experiments/compare.py point-robot --algorithms rl2 --total-steps 1000000 --apart
    python experiments/compare.py cheetah-vel --trained runs/reproduce/cheetah-vel-seed0
    python experiments/compare.py point-robot --total-steps 300000 --overview docs/comparison.md

Writes results/comparison/FAMILY/ALGORITHM.json with every seed's curve and final measurement, and a picture of all
algorithms that the folder holds, and prints their table. Runs that are there already are not run again,
so a comparison can be stopped, continued and extended.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from command_line import Modules, errors_in_one_line, import_modules, path_argument
from pages import with_table
from reproduce import commit
from tyro.conf import Positional

from pearl import plots
from pearl.algorithms import ALGORITHMS, find_algorithm
from pearl.config.reading import ConfigError, beyond_defaults, from_mapping, to_mapping
from pearl.config.run import Config, preset
from pearl.files.access import read_text, write_text
from pearl.plots.comparison import Estimate, looks
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.run import differences, read_json, write_json
from pearl.studies.comparison import Runs, compared, is_scored, last_episode, measure, row, thresholds_of, train
from pearl.tasks import make

PICTURE = "comparison.png"


def main(
    family: Positional[str],
    /,
    algorithms: tuple[str, ...] = tuple(ALGORITHMS),
    seeds: tuple[int, ...] = (0, 1, 2),
    total_steps: int | None = None,
    apart: bool = False,
    trial_episodes: int = 10,
    trained: tuple[Annotated[Path, path_argument("--trained")], ...] = (),
    out: Annotated[Path, path_argument("--out")] = Path("results/comparison"),
    page: Annotated[Path, path_argument("--page")] | None = None,
    overview: Annotated[Path, path_argument("--overview")] | None = None,
    modules: Modules = (),
) -> None:
    """Run what is missing of a comparison on one CPU thread, then draw and print all that the family's folder holds.

    Args:
        family: name of the task family.
        algorithms: the algorithms to compare; the others are compared with the first.
        seeds: one run each of every algorithm.
        total_steps: environment steps of every run; each preset's own where None.
        apart: whether that is another budget than the comparison's: these runs bear it in their name, and calls without
            this draw them beside the others.
        trial_episodes: episodes of the trials that are drawn episode by episode.
        trained: folders of runs that are through, which take the place of new ones.
        out: folder of the results.
        page: Markdown whose table is brought up to date, where <!-- FAMILY --> and <!-- / --> enclose it.
        overview: Markdown whose table of all families that ``out`` holds is brought up to date, where <!-- overview -->
            and <!-- / --> enclose it.
        modules: module that registers a family, or an algorithm to compare, of your own.
    """
    use_threads(1)
    import_modules(modules)
    make(family)
    console = make_console()
    checked_out = commit()
    folder = out / family
    configs = {name: config_of(name, family, total_steps) for name in algorithms}
    if not configs:
        raise ConfigError(f"Name at least one algorithm. Algorithms: {', '.join(ALGORITHMS)}.")
    if apart and total_steps is None:
        raise ConfigError("--apart is for a budget of its own. Give it by --total-steps.")
    paths = {name: folder / (f"{name}-{total_steps}-steps.json" if apart else f"{name}.json") for name in configs}
    for name, config in configs.items():
        read_runs(paths[name], config)  # Other settings there shall show before hours of training.
    for run_folder in trained:
        reuse(family, paths, run_folder, configs, trial_episodes)
    for seed in seeds:
        for name, config in configs.items():
            path = paths[name]
            if str(seed) in read_runs(path, config):
                continue
            console.print(f"{family}, {name}, seed {seed}")
            run = {**train(family, config, seed, trial_episodes=trial_episodes), "commit": checked_out}
            write_runs(path, config, {**read_runs(path, config), str(seed): run})
    if apart:
        return
    baseline = next(iter(configs))
    found = all_runs(folder, baseline)
    if baseline not in found:
        raise ConfigError(f"{folder} holds no runs of {baseline}, which others would be compared with. Name a seed.")
    exploring = configs[baseline].evaluation.exploration_episodes
    picture = folder / PICTURE
    with warn_on_failure("the comparison was not drawn"):
        draw(picture, family, found, exploring)
    console.print(table(found), soft_wrap=True)
    if page is not None:
        write_text(page, with_table(read_text(page), family, section(found, os.path.relpath(picture, page.parent))))
    if overview is not None:
        write_text(overview, with_table(read_text(overview), "overview", overview_table(out, baseline)))


def reuse(
    family: str, paths: Mapping[str, Path], run_folder: Path, configs: Mapping[str, Config], trial_episodes: int
) -> None:
    """Take a run that is through into its algorithm's file, unless that holds the run of that seed.

    Raises:
        ConfigError: the run's family, algorithm or settings are none of those that are compared.
        CheckpointError, RunError: the folder holds no run that is through.
    """
    model, run = measure(run_folder, trial_episodes=trial_episodes)
    name = model.config.algorithm
    if model.family != family or name not in configs:
        raise ConfigError(f"{run_folder} holds a run of {name} on {model.family}, which is not compared here.")
    if model.config != configs[name]:
        found = "; ".join(differences(to_mapping(configs[name]), to_mapping(model.config)))
        raise ConfigError(f"The run in {run_folder} had other settings than are compared here: {found}.")
    path = paths[name]
    learnt_from = read_json(run_folder / "result.json").get("commit", "unknown")
    write_runs(path, model.config, {str(model.seed): run | {"commit": learnt_from}, **read_runs(path, model.config)})


def config_of(name: str, family: str, total_steps: int | None) -> Config:
    """Return an algorithm's preset for the family, with the budget over it where there is one.

    Raises:
        ConfigError: there is no such algorithm.
    """
    config = preset(find_algorithm(name).config, family)
    if total_steps is None:
        return config
    return dataclasses.replace(config, training=dataclasses.replace(config.training, total_steps=total_steps))


def read_runs(path: Path, config: Config | None = None) -> Runs:
    """Return an algorithm's runs by seed, none where there is no file.

    Raises:
        ConfigError: the file's runs had other settings than ``config``, where that is given.
        RunError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    data = read_json(path)
    if config is not None and not _same(config, data["config"]):
        raise ConfigError(f"{path} holds runs with other settings. Move it away to run these anew.")
    runs: Runs = data["runs"]
    return runs


def write_runs(path: Path, config: Config, runs: Runs) -> None:
    """Write an algorithm's runs, in the seeds' order."""
    described = {"algorithm": config.algorithm, "config": beyond_defaults(config)}
    write_json(path, {**described, "runs": dict(sorted(runs.items(), key=lambda run: int(run[0])))})


def all_runs(folder: Path, baseline: str) -> dict[str, Runs]:
    """Return all algorithms' runs in a family's folder: the baseline's first, then by the last episode, best first."""
    found = {path.stem: read_runs(path) for path in folder.glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: (item[0] != baseline, -last_episode(item[1]), item[0])))


def draw(path: Path, family: str, found: Mapping[str, Runs], n_exploration: int) -> Path:
    """Draw all algorithms, the first of which is the baseline."""
    scored, thresholds = is_scored(found), thresholds_of(found)
    baseline = next(iter(found))
    counts = sorted({len(runs) for runs in found.values()})
    seeds = (
        f"{counts[0]} seed{'s' if counts[-1] > 1 else ''}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]} seeds"
    )
    return plots.comparison(
        path,
        {name: compared(runs, found[baseline], thresholds) for name, runs in found.items()},
        baseline=baseline,
        looks=looks(list(dict.fromkeys([*ALGORITHMS, *found]))),
        thresholds=thresholds,
        title=f"{family}: {len(found)} algorithm{'s' if len(found) > 1 else ''}, {seeds}",
        value_name="normalised score" if scored else "return",
        exploration_episodes=n_exploration,
        references={"random policy": 0.0, "task known": 1.0} if scored else {"random policy": _random(found)},
    )


def section(found: Mapping[str, Runs], picture: str) -> str:
    """Return what a page says of a family: the picture and the table."""
    return f"![What they reach]({picture})\n\n{table(found)}"


def table(found: Mapping[str, Runs]) -> str:
    """Return the algorithms in Markdown, the first of which is the baseline."""
    baseline = next(iter(found))
    rows = {name: row(runs, found[baseline]) for name, runs in found.items()}
    digits = _digits([end for each in rows.values() for end in (each.first.value, each.last.value)], is_scored(found))
    header = [
        "algorithm (seeds)",
        "environment steps",
        "first episode",
        "last episode",
        f"better than {baseline}",
        "gradient steps at test time",
        "training, minutes",
    ]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, each in rows.items():
        cells = [
            f"{name} ({len(found[name])})",
            f"{each.env_steps:,.0f}".replace(",", " "),
            _with_interval(each.first, digits),
            _with_interval(each.last, digits),
            "–" if each.improvement is None else _with_interval(each.improvement, 2),
            str(each.gradient_steps),
            f"{each.wall_s / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def overview_table(folder: Path, baseline: str) -> str:
    """Return in Markdown every algorithm's last episode on every family, from the best mean rank down.

    Runs of another budget than their comparison's are left out.

    Args:
        folder: of the families' folders.
        baseline: the algorithm whose runs a family has to have in order to be shown.
    """
    by_family = {path.name: all_runs(path, baseline) for path in sorted(folder.iterdir()) if path.is_dir()}
    shown = {
        family: {name: row(runs, found[baseline]) for name, runs in found.items() if name in ALGORITHMS}
        for family, found in by_family.items()
        if baseline in found
    }
    ranks: dict[str, list[int]] = {}
    header, columns = ["algorithm"], []
    for family, rows in shown.items():
        reached = {name: last_episode(by_family[family][name]) for name in rows}
        for rank, name in enumerate(sorted(reached, key=reached.__getitem__, reverse=True)):
            ranks.setdefault(name, []).append(rank)
        scored = is_scored(by_family[family])
        steps = f"{round(min(each.env_steps for each in rows.values()), -3):,.0f}".replace(",", " ")
        header.append(f"{family}, {'score' if scored else 'return'} after {steps} steps")
        digits = _digits(list(reached.values()), scored)
        columns.append({name: _with_interval(each.last, digits) for name, each in rows.items()})
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name in sorted(ranks, key=lambda name: (float(np.mean(ranks[name])), name)):
        lines.append(f"| {' | '.join([name, *(column.get(name, '–') for column in columns)])} |")
    return "\n".join(lines)


def _same(config: Config, described: Mapping[str, Any]) -> bool:
    """Return whether settings that were written are these; ones that no longer read are others."""
    try:
        return from_mapping(type(config), described) == config
    except ConfigError:
        return False


def _random(found: Mapping[str, Runs]) -> float:
    return float(np.mean([np.mean(run["references"]["random"]) for runs in found.values() for run in runs.values()]))


def _digits(values: Sequence[Any], scored: bool) -> int:
    """Return how many decimals tell values apart: of scores three, of returns the fewer the larger they are."""
    largest = max(abs(float(value)) for value in values)
    return 3 if scored or largest < 2 else 1 if largest < 100 else 0


def _with_interval(estimate: Estimate, digits: int) -> str:
    value, low, high = (f"{end:.{digits}f}".replace("-", "−") for end in estimate)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
