"""Train variants of the families' presets, each against the preset as it is, and draw what they changed.

    python experiments/study.py experiments/configs/what-helps.yaml
    python experiments/study.py experiments/configs/what-helps.yaml --families point-robot --seeds 0

The file names families and variants; a variant is a few settings laid over a family's preset. Writes every seed's
curve and final measurements to results/FAMILY/, draws results/FAMILY/STUDY.png, where STUDY is the file's name, and
prints a table of all variants that were studied on the family. Runs that are there already are not run again, so a
study can be stopped, continued and extended.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from pearl.studies.results import PLAIN, Setting, read_results
from pearl.studies.runner import train_missing
from pearl.studies.variants import by_variant, draw, table
from pearl.tasks import make


@dataclass(frozen=True, kw_only=True)
class StudiedFamily:
    """A family of the study."""

    name: str
    """The family."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings over the preset for every variant, the plain one included."""
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
        out: folder of the results.
        page: Markdown whose tables are brought up to date, each where <!-- FAMILY --> and <!-- / --> enclose it.
        modules: module that registers a family or an encoder of your own.
    """
    use_threads(1)
    import_modules(modules)
    console = make_console()
    checked_out = commit()
    for family in _chosen(read_study(study), families, variants):
        folder = out / family.name
        wanted = {
            Setting(study.stem, name, PEARLConfig.algorithm): variant_config(family, name)
            for name in family.variants
            if not variants or name in variants or name == PLAIN
        }
        train_missing(folder, family.name, wanted, seeds, commit=checked_out, announce=lambda line: console.print(line))
        found = by_variant(read_results(folder), study.stem)
        if len(found) > 1:
            with warn_on_failure(f"{family.name} was not drawn"):
                draw(folder / f"{study.stem}.png", family.name, found)
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
