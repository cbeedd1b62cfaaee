"""The results of a family: the curves of all runs in one CSV file, all other measurements in one JSON file.

Several scripts may write to one family at the same time: each reads, changes and writes under the folder's lock.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl.config.migration import migrated_settings
from pearl.config.reading import ConfigError, from_mapping, non_default_settings
from pearl.config.run import Config
from pearl.files.access import read_text, write_text
from pearl.files.lock import FolderInUseError, FolderLock
from pearl.runs.folder import RunError, read_json
from pearl.runs.progress_csv import column_order, csv_line

FloatArray = NDArray[np.float64]

CURVES = "curves.csv"
"""File of all curves in a family's folder"""
RUNS = "runs.json"
"""File of all other measurements in a family's folder"""
PLAIN = "plain"
"""Name of a study's unchanged setting"""
LONGEST_WAIT_S = 60.0
"""Seconds to wait for another writer; a write takes less than one"""
WIDTH = 120
"""Maximum width of a line in the JSON file; lists of numbers may exceed it"""

_KEY = ("study", "setting", "algorithm", "seed", "commit")
_COUNTS = ("env_steps", "gradient_steps")


class Setting(NamedTuple):
    """The identity of a setting. Its runs differ in their seed only."""

    study: str
    """``reproduction``, ``comparison``, or the name of a study of variants"""
    name: str
    """Unique within the study and algorithm; ``PLAIN`` for the unchanged setting"""
    algorithm: str

    def __str__(self) -> str:
        return f"{self.study}, {self.name}, {self.algorithm}"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run's results."""

    commit: str
    """The commit that the run was trained with; it ends in ``-dirty`` if files differed from it"""
    config: Mapping[str, Any]
    """The settings that differ from the defaults, under their current names"""
    curve: Mapping[str, FloatArray]
    """Logged values of each evaluation, by the names of ``progress.csv``, (evaluation,) each; NaN for missing values"""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """All other measurements, as JSON; ``returns`` are (task, episode)"""


Runs = Mapping[int, RunRecord]
"""The runs of a setting, by seed"""


@dataclass(frozen=True, kw_only=True)
class FamilyResults:
    """All results of a family."""

    runs: Mapping[Setting, Runs] = field(default_factory=dict)
    specialists: Mapping[str, Any] | None = None
    """Measurements of learners from scratch on test tasks (``experiments/specialists.py``), as JSON"""

    def of_study(self, study: str) -> dict[Setting, Runs]:
        """Return the runs of a study."""
        return {setting: runs for setting, runs in self.runs.items() if setting.study == study}


def read_results(folder: Path) -> FamilyResults:
    """Return a family's results; they are empty if the folder has none.

    The JSON file decides which runs exist. Curves of other runs are ignored, and the next writer drops them: a writer
    was killed, or a user removed the run from the JSON file.

    Raises:
        RunError: a file cannot be read, or is damaged.
    """
    path = folder / RUNS
    if not path.is_file():
        return FamilyResults()
    document = read_json(path)
    curves = _read_curves(folder / CURVES)
    runs: dict[Setting, dict[int, RunRecord]] = {}
    try:
        for found in document["runs"]:
            setting, seed = Setting(found["study"], found["setting"], found["algorithm"]), int(found["seed"])
            measured = {name: value for name, value in found.items() if name not in (*_KEY, "config")}
            record = RunRecord(
                commit=found["commit"],
                config=migrated_settings(found["config"]),
                curve=curves[setting, seed],
                measured=measured,
            )
            runs.setdefault(setting, {})[seed] = record
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder} holds damaged results: {CURVES} or {RUNS} lacks {error}. Restore both from a copy."
        ) from error
    return FamilyResults(runs=runs, specialists=document.get("specialists"))


def check_settings(folder: Path, setting: Setting, config: Config) -> None:
    """Check that the folder's runs of a setting were trained with ``config``.

    Raises:
        ConfigError: they were trained with another config.
        RunError: the results cannot be read.
    """
    _check_settings(folder, read_results(folder), setting, config)


def store_run(
    folder: Path, setting: Setting, config: Config, seed: int, record: RunRecord, *, replace: bool = False
) -> None:
    """Add a run to a family's results.

    Args:
        folder: the family's folder; made if it does not exist.
        setting: the run's setting.
        config: the run's config.
        seed: the run's seed.
        record: the run's results.
        replace: whether to replace an earlier run of the same setting and seed; otherwise the earlier run is kept.

    Raises:
        ConfigError: the folder holds runs of the setting with another config, and ``replace`` is False.
        FolderInUseError: another writer holds the folder for longer than a minute.
        RunError: the results cannot be read.
    """
    with _locked(folder):
        found = read_results(folder)
        if not replace:
            _check_settings(folder, found, setting, config)
        runs = found.runs.get(setting, {})
        if replace or seed not in runs:
            _write(folder, {**found.runs, setting: {**runs, seed: record}}, found.specialists)


def store_specialists(
    folder: Path, change: Callable[[Mapping[str, Any] | None], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Change the specialists in a family's results, and return them.

    Args:
        folder: the family's folder; made if it does not exist.
        change: maps the stored specialists (None if there are none) to the new ones.

    Raises:
        FolderInUseError: another writer holds the folder for longer than a minute.
        RunError: the results cannot be read.
    """
    with _locked(folder):
        found = read_results(folder)
        changed = change(found.specialists)
        _write(folder, found.runs, changed)
    return changed


def value_column(curve: Mapping[str, FloatArray]) -> str:
    """Return the name of the curve that studies show: the score if there is one, else the last episode's return."""
    if "test/score" in curve:
        return "test/score"
    return last_episode_column(curve)


def last_episode_column(curve: Mapping[str, FloatArray]) -> str:
    """Return the name of the curve of the last episode's return."""
    return [name for name in column_order(curve) if name.startswith("test/return_ep")][-1]


def settings_of(config: Config) -> dict[str, Any]:
    """Return a config as records store it."""
    return non_default_settings(config)


def _check_settings(folder: Path, found: FamilyResults, setting: Setting, config: Config) -> None:
    if not all(_same(config, record.config) for record in found.runs.get(setting, {}).values()):
        raise ConfigError(
            f"{folder / RUNS} holds runs with other settings ({setting}). Remove them from its list to run them again."
        )


def _same(config: Config, described: Mapping[str, Any]) -> bool:
    """Return whether stored settings equal ``config``; settings that cannot be read do not."""
    try:
        return from_mapping(type(config), described) == config
    except ConfigError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; wait for it while another writer does."""
    folder.mkdir(parents=True, exist_ok=True)
    given_up = time.monotonic() + LONGEST_WAIT_S
    while True:
        try:
            lock = FolderLock(folder)
            break
        except FolderInUseError:
            if time.monotonic() > given_up:
                raise
            time.sleep(0.05)
    with lock:
        yield


def _write(folder: Path, runs: Mapping[Setting, Runs], specialists: Mapping[str, Any] | None) -> None:
    ordered = [(setting, seed, runs[setting][seed]) for setting in sorted(runs) for seed in sorted(runs[setting])]
    document: dict[str, Any] = {
        "runs": [
            {
                "study": setting.study,
                "setting": setting.name,
                "algorithm": setting.algorithm,
                "seed": seed,
                "commit": record.commit,
                "config": record.config,
                **record.measured,
            }
            for setting, seed, record in ordered
        ]
    }
    if specialists is not None:
        document["specialists"] = specialists
    # Curves first: readers ignore curves without a run, but a run without a curve is an error.
    write_text(folder / CURVES, "".join(map(csv_line, _curve_lines(ordered))))
    write_text(folder / RUNS, _json(document) + "\n")


def _curve_lines(ordered: Sequence[tuple[Setting, int, RunRecord]]) -> Iterator[Sequence[Any]]:
    columns = column_order(name for _, _, record in ordered for name in record.curve)
    yield [*_KEY, *columns]
    for setting, seed, record in ordered:
        for index in range(len(record.curve["env_steps"])):
            cells = [_cell(name, record.curve[name][index]) if name in record.curve else "" for name in columns]
            yield [*setting, seed, record.commit, *cells]


def _cell(name: str, value: float) -> str:
    if np.isnan(value):
        return ""
    return str(int(value)) if name in _COUNTS else repr(float(value))


def _read_curves(path: Path) -> dict[tuple[Setting, int], dict[str, FloatArray]]:
    try:
        rows = list(csv.DictReader(read_text(path).splitlines(), strict=True))
        by_run: dict[tuple[Setting, int], list[dict[str, str]]] = {}
        for row in rows:
            key = Setting(row["study"], row["setting"], row["algorithm"]), int(row["seed"])
            by_run.setdefault(key, []).append(row)
        return {key: _columns(found) for key, found in by_run.items()}
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}. Restore it from a copy.") from error


def _columns(rows: Sequence[Mapping[str, str]]) -> dict[str, FloatArray]:
    """Return the columns in which a run has any number."""
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name not in _KEY}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}


def _json(value: Any, indent: int = 0) -> str:
    """Return JSON with one line for each value that fits into a line, and for each list of numbers."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    numbers = isinstance(value, list) and not any(isinstance(part, (list, dict)) for part in value)
    if numbers or not isinstance(value, (list, dict)) or indent + len(flat) <= WIDTH:
        return flat
    margin = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{margin}{json.dumps(name)}: {_json(part, indent + 2)}" for name, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{' ' * indent}}}"
    return "[\n" + ",\n".join(margin + _json(part, indent + 2) for part in value) + f"\n{' ' * indent}]"
