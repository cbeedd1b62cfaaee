"""Train variants of the families' presets, each against the preset as it is, and draw what they changed.

    python experiments/study.py experiments/configs/what-helps.yaml
    python experiments/study.py experiments/configs/what-helps.yaml --families point-robot --seeds 0

The file names families and variants; a variant is a few settings laid over a family's preset. Writes one file per
family and variant, results/what-helps/FAMILY/VARIANT.json, with every seed's curve, and a picture per family, and
prints a table of all that the family's folder holds. Runs that are there already are not run again, so a study can be
stopped, continued and extended.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from command_line import Modules, errors_in_one_line, import_modules, path_argument
from numpy.typing import NDArray
from pages import with_table
from reproduce import commit
from tyro.conf import Positional

import pearl
from pearl import plots
from pearl.config.reading import ConfigError, beyond_defaults, from_mapping, read_yaml_file
from pearl.config.run import PEARLConfig, load_preset
from pearl.evaluation.protocol import Evaluation
from pearl.files.access import read_text, write_text
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.runs.run import read_json, write_json
from pearl.tasks import make

PLAIN = "plain"
"""The variant that changes nothing"""


@dataclass(frozen=True, kw_only=True)
class StudiedFamily:
    """A family of the study."""

    name: str
    """The family."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the study lays over the preset for every variant, the plain one included."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings by variant."""


def main(
    study: Annotated[Positional[Path], path_argument("STUDY")],
    /,
    families: tuple[str, ...] = (),
    variants: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Annotated[Path, path_argument("--out")] = Path("results"),
    page: Annotated[Path, path_argument("--page")] | None = None,
    modules: Modules = (),
) -> None:
    """Run what is missing of a study on one CPU thread, then draw and print it.

    Args:
        study: the YAML file.
        families: which of its families; all where none is given.
        variants: which of its variants, beside the plain one; all where none is given.
        seeds: one run each of every variant.
        out: folder of the results; the study's own bears the file's name.
        page: Markdown whose tables are brought up to date, each where <!-- FAMILY --> and <!-- / --> enclose it.
        modules: module that registers a family or an encoder of your own.
    """
    use_threads(1)
    import_modules(modules)
    console = make_console()
    checked_out = commit()
    folder = out / study.stem
    for family in _chosen(read_study(study), families, variants):
        names = [name for name in family.variants if not variants or name in variants or name == PLAIN]
        for seed in seeds:
            for name in names:
                path = folder / family.name / f"{name}.json"
                config = variant_config(family, name)
                runs = read_runs(path, config)
                if str(seed) in runs:
                    continue
                console.print(f"{family.name}, {name}, seed {seed}")
                runs[str(seed)] = {**train(family.name, config, seed), "commit": checked_out}
                path.parent.mkdir(parents=True, exist_ok=True)
                described = {"variant": family.variants[name], "config": beyond_defaults(config)}
                write_json(path, {**described, "runs": dict(sorted(runs.items(), key=lambda run: int(run[0])))})
        found = all_runs(folder / family.name)
        if len(found) > 1:
            with warn_on_failure(f"{family.name} was not drawn"):
                draw(folder / f"{family.name}.png", family.name, found)
            console.print(table(found), soft_wrap=True)
            if page is not None:
                write_text(page, with_table(read_text(page), family.name, table(found)))


def read_study(path: Path) -> list[StudiedFamily]:
    """Read a study's file.

    Raises:
        ConfigError: the file is not there, or holds something else than a study.
        UnknownFamilyError: a family of the study is not registered.
    """
    data = read_yaml_file(path)
    if not isinstance(data, dict) or set(data) != {"families", "variants"}:
        raise ConfigError(f"{path} must be a mapping of families and variants.")
    by_name, by_variant = (_mapping(path, name, data[name]) for name in ("families", "variants"))
    families = []
    for name, settings in by_name.items():
        chosen: dict[str, Mapping[str, Any]] = {PLAIN: {}}
        for variant, found in by_variant.items():
            laid_over = _mapping(path, f"variants.{variant}", found)
            unknown = sorted(set(laid_over) - {*by_name, "others"})
            if unknown:
                raise ConfigError(
                    f"{path}: {variant} names {', '.join(unknown)}, which is none of the study's families."
                )
            own = laid_over.get(name, laid_over.get("others"))
            if own is not None:
                chosen[variant] = own
        families.append(StudiedFamily(name=name, settings=settings or {}, variants=chosen))
    for family in families:
        make(family.name)
        for variant in family.variants:
            variant_config(family, variant)  # A slip in the file shall show before hours of training.
    return families


def variant_config(family: StudiedFamily, variant: str) -> PEARLConfig:
    """Return the preset with the study's and the variant's settings over it.

    Raises:
        ConfigError: a setting is unknown or wrong, or the variant changes nothing.
    """
    plain = from_mapping(PEARLConfig, family.settings, load_preset(family.name))
    config = from_mapping(PEARLConfig, family.variants[variant], plain)
    if variant != PLAIN and config == plain:
        raise ConfigError(f"The variant {variant!r} changes nothing of {family.name}'s settings.")
    return config


def train(family: str, config: PEARLConfig, seed: int) -> dict[str, Any]:
    """Train one run and return its curve: environment steps, gradient steps, seconds and what is compared."""
    model = pearl.PEARL(family, config, seed=seed)
    logged: list[dict[str, float]] = []

    def evaluated(evaluation: Evaluation, metrics: dict[str, float]) -> None:
        logged.append(metrics)

    model.learn(on_evaluation=evaluated)
    value = "test/score" if "test/score" in logged[0] else f"test/return_ep{config.evaluation.episodes}"
    return {
        "value_name": value,
        "value": [metrics[value] for metrics in logged],
        "env_steps": [int(metrics["env_steps"]) for metrics in logged],
        "gradient_steps": [int(metrics["gradient_steps"]) for metrics in logged],
        "wall_s": [round(metrics["wall_s"], 1) for metrics in logged],
    }


def read_runs(path: Path, config: PEARLConfig | None) -> dict[str, Any]:
    """Return a variant's runs by seed, none where there is no file.

    Raises:
        ConfigError: the file's runs had other settings than ``config``, where that is given.
        RunError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    data = read_json(path)
    if config is not None and from_mapping(PEARLConfig, data["config"]) != config:
        raise ConfigError(f"{path} holds runs with other settings. Move it away to run these anew.")
    runs: dict[str, Any] = data["runs"]
    return runs


def all_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every variant's runs that a family's folder holds: the plain one first, then the best on the way."""
    found = {path.stem: read_runs(path, None) for path in folder.glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: (item[0] != PLAIN, -on_the_way(item[1]).mean(), item[0])))


def final(runs: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return each seed's value at the end, a mean of its last two evaluations, (seed,)."""
    return np.array([np.mean(run["value"][-2:]) for run in runs.values()])


def on_the_way(runs: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return each seed's mean value over the run's environment steps, (seed,): high where learning was early."""
    found = []
    for run in runs.values():
        steps, value = np.array(run["env_steps"], float), np.array(run["value"])
        found.append(np.trapezoid(value, steps) / (steps[-1] - steps[0]))
    return np.array(found)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the variants in Markdown, with their means and ranges over seeds, at the end and on the way.

    The last column is the mean difference on the way from the plain setting's runs of the same seeds, and of how many
    of these the variant was ahead.
    """
    lines = ["| variant | at the end | on the way | gain on the way |", "|---|---|---|---|"]
    for name, runs in found.items():
        end, way = final(runs), on_the_way(runs)
        digits = 3 if np.abs(way).max() < 2 else 0
        seeds = [seed for seed in runs if seed in found[PLAIN]]
        compared = ""
        if name != PLAIN and seeds:
            gain = np.subtract(*(on_the_way({seed: each[seed] for seed in seeds}) for each in (runs, found[PLAIN])))
            compared = f"{gain.mean():+.{digits}f}, {(gain > 0).sum()} of {len(seeds)}"
        cells = [name.replace("-", " "), _mean_and_range(end, digits), _mean_and_range(way, digits), compared]
        lines.append(f"| {' | '.join(cells)} |".replace("  |", " |").replace("| -", "| −"))
    return "\n".join(lines)


def draw(path: Path, family: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw every variant's seeds beside the plain ones', a panel each."""
    value = next(iter(found[PLAIN].values()))["value_name"]
    plots.variant_curves(
        path,
        {name: list(_curves(runs)) for name, runs in found.items()},
        plain=PLAIN,
        title=family,
        value_name="normalised score" if value == "test/score" else "return of the last episode",
    )


def _mean_and_range(values: NDArray[np.float64], digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}".replace("-", "−") for value in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})" if len(values) > 1 else mean


def _curves(runs: Mapping[str, Any]) -> Iterator[tuple[Sequence[int], Sequence[float]]]:
    for run in runs.values():
        yield run["env_steps"], run["value"]


def _mapping(path: Path, name: str, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {name} must be a mapping, got {found!r}.")
    return found


def _chosen(families: Sequence[StudiedFamily], names: Sequence[str], variants: Sequence[str]) -> list[StudiedFamily]:
    known = {
        "families": (names, [family.name for family in families]),
        "variants": (variants, list(dict.fromkeys(name for family in families for name in family.variants))),
    }
    for what, (asked, there) in known.items():
        unknown = [name for name in asked if name not in there]
        if unknown:
            raise ConfigError(f"The study has no {what} {', '.join(unknown)}; it has {', '.join(there)}.")
    return [family for family in families if not names or family.name in names]


if __name__ == "__main__":
    protect_output()
    sys.exit(errors_in_one_line(tyro.cli)(main))
