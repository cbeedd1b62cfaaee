"""The JSON document of a saved model: its fields and their checks, and conversion of older documents."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pearl.algorithms import find_algorithm
from pearl.checkpoint.fields import FieldError, finite_number, mapping, sequence, text, whole_number
from pearl.config.migration import (
    OF_TRIALS,
    migrated_settings,
    with_former_defaults,
    with_kept_z,
    with_learnt_temperature,
    with_rewards_as_they_are,
)
from pearl.config.reading import from_mapping
from pearl.config.run import Config
from pearl.tasks import Task

VERSION = 6
"""Version of the documents that this library writes"""
LARGEST = 10**9
"""Largest number of actions or width of an action that is read from a space's text; no agent has so many"""


class ModelDocument(NamedTuple):
    """A saved model's document after its checks. ``training`` and ``acting_rng`` are checked when they are restored."""

    family: str
    """Name of the task distribution"""
    seed: int
    config: Config
    train_tasks: list[Task]
    test_tasks: list[Task]
    spaces: dict[str, str]
    """The observation space and the action space, as Gymnasium prints them"""
    horizon: int
    """Steps per episode"""
    training: Mapping[str, Any]
    """State of ``MetaTraining``"""
    acting_rng: Mapping[str, Any]
    """State of the random generator for acting"""
    wall_s: float
    """Seconds of meta-training"""
    next_evaluation: int
    """Environment steps at which the next evaluation is due"""


def read_document(document: Mapping[str, Any]) -> ModelDocument:
    """Read the document of a saved model, of this version or an older one.

    Raises:
        ValueError: a field is missing or invalid; the message names it.
    """
    document = migrated(document)
    config = _read_config(document)
    training = mapping(document, "training")
    spaces = mapping(document, "spaces")
    for name, version in mapping(document, "versions").items() if "versions" in document else ():
        if not isinstance(version, str):
            raise FieldError(f"versions.{name}", version, "a text")
    train_tasks = _tasks(document, "train_tasks")
    if not train_tasks:
        raise FieldError("train_tasks", [], "a list of one task or more")
    next_evaluation = whole_number(document, "next_evaluation")
    latest = whole_number(training, "env_steps", "training.") + config.evaluation.interval
    if next_evaluation > latest:
        raise FieldError("next_evaluation", next_evaluation, f"a whole number up to {latest}")
    return ModelDocument(
        family=text(document, "family"),
        seed=_seed(document),
        config=config,
        train_tasks=train_tasks,
        test_tasks=_tasks(document, "test_tasks"),
        spaces={name: text(spaces, name, "spaces.") for name in ("observation", "action")},
        horizon=whole_number(document, "horizon", least=1),
        training=training,
        acting_rng=mapping(document, "acting_rng"),
        wall_s=finite_number(document, "wall_s"),
        next_evaluation=next_evaluation,
    )


def _read_config(document: Mapping[str, Any]) -> Config:
    """Read the settings in the document of a saved model.

    Raises:
        ConfigError: this version does not know the algorithm or a setting.
        ValueError: a field is missing or invalid; the message names it.
    """
    return from_mapping(find_algorithm(text(document, "algorithm")).config, mapping(document, "config"))


def _seed(document: Mapping[str, Any]) -> int:
    seed = document.get("seed")
    if type(seed) is int and seed > 0:
        return seed  # NumPy takes seeds of any length.
    return whole_number(document, "seed")


def _tasks(document: Mapping[str, Any], name: str) -> list[Task]:
    tasks = []
    for index, params in enumerate(sequence(document, name)):
        if not isinstance(params, dict):
            raise FieldError(f"{name}[{index}]", params, "a mapping of parameters")
        tasks.append(Task(params))
    return tasks


def migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's document in the current version.

    Up to version 5, z was kept within an episode by default, and nothing taught the encoder what the tasks are. Up to
    version 4, a temperature for a finite set of actions was always learnt. Up to version 3, algorithms that learn from
    whole trials scaled rewards by 1. Up to version 2, settings had other defaults, and a learned temperature aimed at
    minus the action width. Version 1 has no field ``version``. Its field ``system`` is now ``algorithm``; PEARL's first
    documents lack it. Its settings have no nested sections (``pearl.config.migration``).

    Args:
        document: a document of any version.

    Raises:
        ValueError: this library does not know the document's version.
    """
    version = whole_number(document, "version", least=1) if "version" in document else 1
    if version > VERSION:
        raise ValueError(f"version is {version}, newer than {VERSION}, the newest that this library reads")
    migrated = dict(document)
    if version == 1:
        migrated["algorithm"] = migrated.pop("system", "pearl")
        if isinstance(migrated.get("config"), Mapping):
            migrated["config"] = migrated_settings(migrated["config"])
    if version <= 2 and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_former_defaults(migrated["config"], _action_width(document))
    if version <= 3 and migrated.get("algorithm") in OF_TRIALS and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_rewards_as_they_are(migrated["config"])
    if version <= 4 and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_learnt_temperature(migrated["config"], _largest_entropy(document))
    if version <= 5 and isinstance(migrated.get("config"), Mapping):
        migrated["config"] = with_kept_z(migrated["config"])
    return migrated


def _action_space(document: Mapping[str, Any]) -> str:
    """Return the action space as Gymnasium prints it; nothing where it cannot be read."""
    spaces = document.get("spaces")
    space = spaces.get("action") if isinstance(spaces, Mapping) else None
    return space if isinstance(space, str) else ""


def _largest_entropy(document: Mapping[str, Any]) -> float | None:
    """Return the entropy of random actions from a finite set, in nats; None for others, or where it cannot be read."""
    given = re.search(r"^(Discrete|MultiDiscrete|MultiBinary)\(([\d\[\],\s(]+)", _action_space(document))
    count = math.prod(int(number[:10]) for number in re.findall(r"\d+", given[2])) if given else 0
    if given is None or not 1 <= count <= LARGEST:
        return None
    return count * math.log(2) if given[1] == "MultiBinary" else math.log(count)


def _action_width(document: Mapping[str, Any]) -> int | None:
    """Return how many numbers a continuous action has; None for a finite set of actions, or where it cannot be read."""
    shape = re.search(r"^Box\(.*\((\d+(?:, \d+)*),?\), float\d+\)$", _action_space(document), re.DOTALL)
    width = math.prod(int(side[:10]) for side in shape[1].split(", ")) if shape else 0
    return width if 1 <= width <= LARGEST else None
