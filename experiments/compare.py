"""Train several algorithms on a family with the same tasks and protocol, and compare their results.

    python experiments/compare.py point-robot --algorithms pearl rl2 maml
    python experiments/compare.py point-robot --seeds 0 1 2 3 4 --total-steps 100000 --page docs/comparison.md
    python experiments/compare.py point-robot --import my_algorithm --algorithms pearl my_algorithm
    python experiments/compare.py point-robot --algorithms rl2 --total-steps 1000000 --apart
    python experiments/compare.py cheetah-vel --trained runs/reproduce/cheetah-vel-seed0
    python experiments/compare.py point-robot --total-steps 300000 --overview docs/comparison.md

Writes every seed's curve and final measurements to results/FAMILY/. Draws all algorithms compared on the family in
results/FAMILY/comparison.png, and prints their table. Existing runs are not run again, so a comparison can be stopped,
continued and extended. A run that was stopped continues from its checkpoint if the commit is the same.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tyro
from command_line import Modules, errors_in_one_line, import_modules, path_argument
from pages import with_table
from reproduce import commit
from tyro.conf import Positional

from pearl.algorithms import ALGORITHMS, find_algorithm
from pearl.config.reading import ConfigError, to_mapping
from pearl.config.run import Config, preset
from pearl.files.access import read_text, write_text
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.run import differences
from pearl.studies.comparison import STUDY, by_name
from pearl.studies.comparison_table import PICTURE, draw, overview_table, section, table
from pearl.studies.results import PLAIN, Setting, check_settings, read_results, settings_of, store_run
from pearl.studies.runner import measure, train_missing
from pearl.tasks import make


def main(
    family: Positional[str],
    /,
    algorithms: tuple[str, ...] = tuple(ALGORITHMS),
    seeds: tuple[int, ...] = (0, 1, 2),
    total_steps: int | None = None,
    apart: bool = False,
    trial_episodes: int = 10,
    trained: tuple[Annotated[Path, path_argument("--trained")], ...] = (),
    out: Annotated[Path, path_argument("--out")] = Path("results"),
    runs: Annotated[Path, path_argument("--runs")] = Path("runs/studies"),
    page: Annotated[Path, path_argument("--page")] | None = None,
    overview: Annotated[Path, path_argument("--overview")] | None = None,
    modules: Modules = (),
) -> None:
    """Train the missing runs of a comparison on one CPU thread, then draw and print all runs in the family's folder.

    Args:
        family: name of the task family.
        algorithms: the algorithms to compare; the first is the baseline.
        seeds: seeds of the runs; each algorithm is trained with each seed.
        total_steps: environment steps of every run; each preset's own number if None.
        apart: keep runs of ``total_steps`` apart from other runs, with the budget in their name. Later calls without
            this flag draw them beside the others.
        trial_episodes: episodes of the trials that are drawn episode by episode.
        trained: folders of finished runs, used instead of new runs.
        out: folder of the results.
        runs: folder of the runs, checkpoints included: runs/studies/COMMIT/RUN.
        page: Markdown file to update: its table between <!-- FAMILY --> and <!-- / -->.
        overview: Markdown file to update: its table of all families in ``out``, between <!-- overview --> and
            <!-- / -->.
        modules: module that registers your own family or algorithm.
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
        raise ConfigError("--apart needs a budget: give --total-steps.")
    name = f"{total_steps}-steps" if apart else PLAIN
    wanted = {Setting(STUDY, name, algorithm): config for algorithm, config in configs.items()}
    for setting, config in wanted.items():
        check_settings(folder, setting, config)  # Before the finished runs are evaluated.
    for run_folder in trained:
        reuse(family, folder, run_folder, wanted, trial_episodes)
    finished = train_missing(
        folder,
        family,
        wanted,
        seeds,
        commit=checked_out,
        runs=runs,
        trial_episodes=trial_episodes,
        announce=lambda line: console.print(line),
    )
    if not finished:
        sys.exit(130)
    if apart:
        return
    baseline = next(iter(configs))
    found = by_name(read_results(folder), baseline)
    if baseline not in found:
        raise ConfigError(f"{folder} holds no runs of the baseline {baseline}. Name a seed to train.")
    exploring = configs[baseline].evaluation.exploration_episodes
    picture = folder / PICTURE
    with warn_on_failure("the comparison was not drawn"):
        draw(picture, family, found, exploring)
    console.print(table(found), soft_wrap=True)
    if page is not None:
        write_text(page, with_table(read_text(page), family, section(found, os.path.relpath(picture, page.parent))))
    if overview is not None:
        write_text(overview, with_table(read_text(overview), "overview", overview_table(out, baseline)))


def reuse(family: str, folder: Path, run_folder: Path, wanted: Mapping[Setting, Config], trial_episodes: int) -> None:
    """Add a finished run to the family's results, unless they contain a run of its setting and seed.

    Raises:
        ConfigError: the comparison does not include the run's family, algorithm or settings.
        CheckpointError, RunError: the folder contains no finished run.
    """
    model, record = measure(run_folder, trial_episodes=trial_episodes)
    by_algorithm = {setting.algorithm: setting for setting in wanted}
    algorithm = model.config.algorithm
    if model.family != family or algorithm not in by_algorithm:
        raise ConfigError(f"{run_folder} holds a run of {algorithm} on {model.family}, which is not compared here.")
    setting = by_algorithm[algorithm]
    expected = model.filled(wanted[setting])
    if model.config != expected:
        found = "; ".join(differences(to_mapping(expected), to_mapping(model.config)))
        raise ConfigError(f"The run in {run_folder} has other settings than this comparison: {found}.")
    record = dataclasses.replace(record, config=settings_of(wanted[setting]))
    store_run(folder, setting, wanted[setting], model.seed, record)


def config_of(name: str, family: str, total_steps: int | None) -> Config:
    """Return an algorithm's preset for the family, with the budget if one is given.

    Raises:
        ConfigError: no algorithm has this name.
    """
    config = preset(find_algorithm(name).config, family)
    if total_steps is None:
        return config
    return dataclasses.replace(config, training=dataclasses.replace(config.training, total_steps=total_steps))


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
