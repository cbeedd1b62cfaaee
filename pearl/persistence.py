"""What a saved model consists of, and how it comes back."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from agents.finite import NonFiniteError
from pearl.checkpoint import Checkpoint, CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint
from pearl.checkpoint_manifest import file_name
from pearl.config import Config, PEARLConfig
from pearl.config_reading import ConfigError, from_mapping, to_mapping
from pearl.finite_tensors import first_fault
from pearl.model import MetaLearner, learner_of
from pearl.random_state import random_state_to_json, restore_random_state
from pearl.systems import find_system
from pearl.tasks import Task, TaskDistribution, families, family_name
from pearl.training_config import TrainingConfig
from pearl.version import __version__

CHECKPOINT = "checkpoint"
"""Name of the checkpoint folder inside a run folder."""


def save(model: MetaLearner, path: Path, *, training_state: bool = True) -> None:
    """Write ``model`` to a checkpoint folder, atomically; without ``training_state`` weights alone.

    Raises:
        NonFiniteError: a weight, or what learning goes on from, is NaN or infinite; nothing was written.
        CheckpointError: the disk is full or not writable; the last good checkpoint stands.
    """
    groups = {"weights": dict(model.agent.state_dict())}
    if training_state:
        groups |= model.training.tensors()
    fault = first_fault(groups, without_temperature=_is_without_temperature(model.config))
    if fault is not None:
        raise NonFiniteError(
            f"The model cannot be saved to {path}: {fault}. Nothing was written. Go on from an earlier checkpoint, "
            "with a lower agent.learning_rate or agent.reward_scale."
        )
    document = {
        "family": model.family,
        "system": model.config.system,
        "seed": model.seed,
        "config": to_mapping(model.config),
        "train_tasks": [task.to_json() for task in model.train_tasks],
        "test_tasks": [task.to_json() for task in model.test_tasks],
        "spaces": {"observation": str(model.observation_space), "action": str(model.action_space)},
        "horizon": model.horizon,
        "training": model.training.state(),
        "acting_rng": random_state_to_json(model._rng),
        "wall_s": model.wall_s,
        "next_evaluation": model.next_evaluation,
        "versions": versions(model.tasks.simulators),
    }
    write_checkpoint(path, groups, document)


def load_config(path: str | Path) -> Config:
    """Read the settings of the model in a checkpoint folder, or in a run folder that holds one, and nothing else of it.

    Raises:
        CheckpointError: no checkpoint there, or one that is damaged, foreign or newer.
    """
    folder = find_checkpoint(Path(path))
    return _config(read_checkpoint(folder, groups=()), folder)


def load(
    path: str | Path,
    *,
    distribution: TaskDistribution | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    z_follows_posterior: bool | None = None,
) -> MetaLearner:
    """Load a model from a checkpoint folder or from a run folder that holds one.

    Args:
        path: what ``model.save`` or ``train.py`` wrote.
        distribution: the task distribution, where the family is not a registered one.
        device: takes the place of ``training.device``: where the model is to learn on. A model acts on the CPU wherever
            it learns, and to act alone "cpu" will do for every model.
        z_follows_posterior: takes the place of ``agent.z_follows_posterior``: whether acting uses what an episode shows
            within that episode already. It needs no other training.

    Returns:
        A ``PEARL``, or a ``MetaLearner`` where another system was trained.

    Raises:
        ConfigError: the device to learn on is not there, or no GPU can learn with the model's settings or its system;
            a system without z.
        CheckpointError: no checkpoint there, or one that is truncated, altered, foreign, newer or carries a pickle; it
            was trained on a family that is not registered, or on other spaces; a weight is NaN or infinite.
    """
    folder = find_checkpoint(Path(path))
    checkpoint = read_checkpoint(folder)
    document = checkpoint.document
    family = document["family"]
    if distribution is None and family not in families():
        raise CheckpointError(
            f"{folder} was trained on the family {family!r}, which is not registered. "
            "Give its TaskDistribution: pearl.load(path, distribution=...)."
        )
    if distribution is not None and family_name(distribution) != family:
        raise CheckpointError(
            f"The model in {folder} is of the family {family!r}, not {family_name(distribution)!r}. Name its own."
        )
    config = _config(checkpoint, folder)
    if device is not None and isinstance(config.training, TrainingConfig):
        config = replace(config, training=replace(config.training, device=device))
    elif device == "cuda":
        raise ConfigError(f'{config.system} learns on the CPU alone so far; load {folder} with device="cpu" or none.')
    if z_follows_posterior is not None:
        if not isinstance(config, PEARLConfig):
            raise ConfigError(f"{config.system} has no z that could follow a posterior; leave z_follows_posterior out.")
        config = replace(config, agent=replace(config.agent, z_follows_posterior=z_follows_posterior))
    train, test = ([Task(params) for params in document[name]] for name in ("train_tasks", "test_tasks"))
    model = learner_of(config)(distribution or family, config, seed=document["seed"], tasks=(train, test))
    spaces = {"observation": str(model.observation_space), "action": str(model.action_space)}
    if spaces != document["spaces"]:
        raise CheckpointError(f"{folder} was trained on the spaces {document['spaces']}, the family now has {spaces}.")
    if model.horizon != document["horizon"]:
        raise CheckpointError(
            f"{folder} was trained with episodes of {document['horizon']} steps, the family has {model.horizon}. "
            "Give its own TaskDistribution: pearl.load(path, distribution=...)."
        )
    _restore(model, checkpoint, folder)
    return model


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint folder that ``path`` is, or that it holds as a run folder."""
    inner = path / CHECKPOINT
    return inner if not has_checkpoint(path) and has_checkpoint(inner) else path


def versions(simulators: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions that a result depends on, those of ``TaskDistribution.simulators`` too."""
    names = ("torch", "gymnasium", "numpy", "stable-baselines3", *simulators)
    return {"pearl-metarl": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in names
    }


def _config(checkpoint: Checkpoint, folder: Path) -> Config:
    try:
        # Checkpoints of the time when PEARL was the only system do not name it.
        system = find_system(checkpoint.document.get("system", PEARLConfig.system))
        return from_mapping(system.config, checkpoint.document["config"])
    except ConfigError as error:
        raise CheckpointError(f"{folder} was written with settings that this version does not know: {error}") from error


def _is_without_temperature(config: Config) -> bool:
    return getattr(config.agent, "temperature", None) == 0


def _restore(model: MetaLearner, checkpoint: Checkpoint, folder: Path) -> None:
    document, groups = checkpoint.document, checkpoint.groups
    fault = first_fault(groups, without_temperature=_is_without_temperature(model.config))
    if fault is not None:
        raise CheckpointError(
            f"{folder / file_name(fault.group, checkpoint.generation)}: {fault}. Load an earlier checkpoint, or train "
            "anew."
        )
    try:
        model.agent.load_state_dict(groups["weights"])
        if "optimizers" in groups:
            model.training.load_tensors(groups)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder} does not hold what its config describes: {error}") from error
    model.training.load_state(document["training"])
    restore_random_state(model._rng, document["acting_rng"])
    model.wall_s = document["wall_s"]
    model.next_evaluation = document["next_evaluation"]


def describe(model: MetaLearner) -> dict[str, Any]:
    """Return what a run's ``config.json`` holds."""
    return {
        "family": model.family,
        "system": model.config.system,
        "seed": model.seed,
        **to_mapping(model.config),
        "versions": versions(model.tasks.simulators),
    }
