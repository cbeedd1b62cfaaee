"""Train variants of the families' presets, and compare each with the plain preset.

    python experiments/study.py experiments/configs/what-helps.yaml
    python experiments/study.py experiments/configs/what-helps.yaml --families point-robot --seeds 0

The file names families and variants; a variant replaces a few settings of a family's preset, or of the defaults if it
says ``from: defaults``. Writes every seed's curve and final measurements to results/FAMILY/. Draws
results/FAMILY/STUDY.png, where STUDY is the file's name, and prints a table of all the family's variants, and for a
variant from the defaults a table of all families, compared with the published runs of their presets. Existing runs are
not run again, so a study can be stopped, continued and extended. A run that was stopped continues from its checkpoint
if the commit is the same.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from command_line import Modules, errors_in_one_line, import_modules, path_argument
from pages import with_table
from reproduce import commit
from tyro.conf import Positional

from pearl.config.reading import ConfigError, from_mapping, read_yaml_file
from pearl.config.run import PEARLConfig, load_preset
from pearl.files.access import read_text, write_text
from pearl.process.output import make_console, protect_output, warn_on_failure
from pearl.process.threads import use_threads
from pearl.studies.published_table import published_table
from pearl.studies.results import PLAIN, Setting, read_results
from pearl.studies.runner import train_missing
from pearl.studies.variants import by_variant, draw, table
from pearl.tasks import make


@dataclass(frozen=True, kw_only=True)
class StudiedFamily:
    """A family of the study."""

    name: str
    """The family's name."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes of the preset in every variant, including the plain one."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further changes, by variant."""


def main(
    study: Annotated[Positional[Path], path_argument("STUDY")],
    /,
    families: tuple[str, ...] = (),
    variants: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Annotated[Path, path_argument("--out")] = Path("results"),
    runs: Annotated[Path, path_argument("--runs")] = Path("runs/studies"),
    page: Annotated[Path, path_argument("--page")] | None = None,
    modules: Modules = (),
) -> None:
    """Train the missing runs of a study on one CPU thread, then draw and print the study.

    Args:
        study: the YAML file.
        families: families of the study to train; all by default.
        variants: variants to train, "plain" for the preset itself; all by default.
        seeds: seeds of the runs; each variant is trained with each seed.
        out: folder of the results.
        runs: folder of the runs, checkpoints included: runs/studies/COMMIT/RUN.
        page: Markdown file to update: each family's table between <!-- FAMILY --> and <!-- / -->, and the table of a
            variant from the defaults between <!-- VARIANT --> and <!-- / -->.
        modules: module that registers your own family or encoder.
    """
    use_threads(1)
    import_modules(modules)
    console = make_console()
    checked_out = commit()
    studied = read_study(study)
    for family in _chosen(studied, families, variants):
        folder = out / family.name
        wanted = {
            Setting(study.stem, name, PEARLConfig.algorithm): variant_config(family, name)
            for name in family.variants
            if not variants or name in variants
        }
        finished = train_missing(
            folder,
            family.name,
            wanted,
            seeds,
            commit=checked_out,
            runs=runs,
            announce=lambda line: console.print(line),
        )
        if not finished:
            sys.exit(130)
        found = by_variant(read_results(folder), study.stem)
        if PLAIN in found and len(found) > 1:
            with warn_on_failure(f"{family.name} was not drawn"):
                draw(folder / f"{study.stem}.png", family.name, found)
            console.print(table(found), soft_wrap=True)
            if page is not None:
                write_text(page, with_table(read_text(page), family.name, table(found)))
    folders = [out / family.name for family in studied]
    for name in _from_defaults(studied):
        compared = published_table(folders, Setting(study.stem, name, PEARLConfig.algorithm))
        console.print(compared, soft_wrap=True)
        if page is not None:
            write_text(page, with_table(read_text(page), name, compared))


def read_study(path: Path) -> list[StudiedFamily]:
    """Read a study's file.

    Raises:
        ConfigError: the file does not exist, or does not describe a study.
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
                raise ConfigError(f"{path}: {variant} names {', '.join(unknown)}, no family of the study.")
            own = laid_over.get(name, laid_over.get("others"))
            if own is not None:
                chosen[variant] = own
        families.append(StudiedFamily(name=name, settings=settings or {}, variants=chosen))
    for family in families:
        make(family.name)
        for variant in family.variants:
            variant_config(family, variant)  # Report mistakes in the file before hours of training.
    return families


def variant_config(family: StudiedFamily, variant: str) -> PEARLConfig:
    """Return the preset with the study's and the variant's changes.

    Raises:
        ConfigError: a setting is unknown or invalid, or the variant changes nothing.
    """
    plain = from_mapping(PEARLConfig, family.settings, load_preset(family.name))
    changes = dict(family.variants[variant])
    start = changes.pop("from", "preset")
    if start not in ("preset", "defaults"):
        raise ConfigError(f"The variant {variant!r} starts from {start!r}; it may start from preset or defaults.")
    config = from_mapping(PEARLConfig, changes, untuned(plain) if start == "defaults" else plain)
    if variant != PLAIN and config == plain:
        raise ConfigError(f"The variant {variant!r} changes none of {family.name}'s settings.")
    return config


def untuned(preset: PEARLConfig) -> PEARLConfig:
    """Return the default settings with the steps, the number of tasks and the protocol of a family's preset."""
    base = PEARLConfig()
    training = replace(
        base.training,
        total_steps=preset.training.total_steps,
        n_train_tasks=preset.training.n_train_tasks,
        episodes_per_trial=preset.training.episodes_per_trial,
    )
    return replace(base, training=training, evaluation=preset.evaluation)


def _from_defaults(families: Sequence[StudiedFamily]) -> list[str]:
    """Return the names of the variants that start from the defaults."""
    variants = (item for family in families for item in family.variants.items())
    return sorted({name for name, changes in variants if changes.get("from") == "defaults"})


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
