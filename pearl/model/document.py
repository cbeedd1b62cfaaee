"""The JSON document of a saved model: its fields and their checks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pearl.algorithms import find_algorithm
from pearl.checkpoint.fields import FieldError, finite_number, mapping, sequence, text, whole_number
from pearl.config.reading import from_mapping
from pearl.config.run import Config
from pearl.model.migration import migrated
from pearl.tasks import Task


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
