"""Loading of saved models."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from agents import PEARLAgent
from agents.context.changes import ChangeDetector
from encoders.abbreviation import abbreviated, shortened
from encoders.settings import UnregisteredError, converted
from pearl.adaptation.familiarity import Familiarity
from pearl.algorithms import find_algorithm
from pearl.checkpoint.finite_tensors import first_fault
from pearl.checkpoint.manifest import STATE
from pearl.checkpoint.random_state import restore_random_state
from pearl.checkpoint.reading import REMEDY, Outline
from pearl.checkpoint.store import Checkpoint, CheckpointError, has_checkpoint, read_checkpoint
from pearl.config.reading import ConfigError
from pearl.config.run import Config, PEARLConfig
from pearl.config.training import TrainingConfig
from pearl.model.arguments import folder_path
from pearl.model.document import ModelDocument, read_document
from pearl.model.saving import CHANGES, CHECKPOINT, FAMILIARITY, SavedModel, is_without_temperature
from pearl.model.shapes import OF_BELIEFS, check_learnt_of_beliefs, check_weights
from pearl.tasks import TaskDistribution, family_name, make, time_limit
from pearl.tasks.arguments import check_distribution
from pearl.tasks.registry import families
from pearl.training.learner import learning_device

ModelT = TypeVar("ModelT", bound=SavedModel)


def load_config(path: str | Path) -> Config:
    """Read only the settings of the model in a checkpoint folder, or in a run folder that contains one.

    Raises:
        CheckpointError: no checkpoint there, or one that is damaged, foreign or newer.
    """
    folder = find_checkpoint(folder_path(path))
    checkpoint = read_checkpoint(folder, groups=())
    return _described(folder, checkpoint.document, checkpoint.paths[STATE]).config


def load_model(
    kind: type[ModelT],
    path: str | Path,
    *,
    distribution: TaskDistribution | None,
    device: Literal["cpu", "cuda"] | None,
    z_follows_posterior: bool | None,
) -> ModelT:
    """Load a model of the class ``kind``; other arguments and exceptions are those of its ``load``."""
    folder = find_checkpoint(folder_path(path))
    if distribution is not None:
        check_distribution(distribution, "distribution")
    if device is not None:
        device = converted(Literal["cpu", "cuda"], device, "device")

    described: ModelDocument

    def check(outline: Outline) -> None:
        nonlocal described
        described = _described(folder, outline.document, outline.paths[STATE])
        _check_fit(folder, described, distribution, outline)

    checkpoint = read_checkpoint(folder, check=check)
    config = described.config
    if device is not None and isinstance(config.training, TrainingConfig):
        config = replace(config, training=replace(config.training, device=device))
    elif device == "cuda":
        raise ConfigError(
            f'{config.algorithm} learns on the CPU only; load {folder} with device="cpu" or without device.'
        )
    if z_follows_posterior is not None:
        if not isinstance(config, PEARLConfig):
            raise ConfigError(f"{config.algorithm} infers no z; leave z_follows_posterior out.")
        exploration = replace(config.agent.exploration, z_follows_posterior=z_follows_posterior)
        config = replace(config, agent=replace(config.agent, exploration=exploration))
    if isinstance(config.training, TrainingConfig):
        learning_device(config.training)  # Checked here: a missing device is not an error of the checkpoint.
    made = kind.class_of(config)
    if kind not in made.__mro__:
        raise CheckpointError(
            f"{path} holds a {made.__name__} of {config.algorithm}, which {kind.__name__}.load does not accept. "
            "Load it by pearl.load(path)."
        )
    tasks = described.train_tasks, described.test_tasks
    try:
        model: ModelT = made(distribution or described.family, config, seed=described.seed, tasks=tasks)
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint.paths[STATE]} describes a model that cannot be built: {shortened(str(error), 500)}"
        ) from error
    _restore(model, checkpoint, described)
    return model


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint folder: ``path`` itself, or the one inside the run folder ``path``."""
    inner = path / CHECKPOINT
    return inner if not has_checkpoint(path) and has_checkpoint(inner) else path


def _described(folder: Path, document: Mapping[str, Any], path: Path) -> ModelDocument:
    try:
        return read_document(document)
    except UnregisteredError as error:
        raise CheckpointError(f"{folder} cannot be loaded: {shortened(str(error), 1000)}") from error
    except ConfigError as error:
        raise CheckpointError(
            f"{folder} was written with settings that this version does not know: {shortened(str(error), 500)}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not a model's document: {error}. {REMEDY}") from error


def _check_fit(folder: Path, described: ModelDocument, distribution: TaskDistribution | None, outline: Outline) -> None:
    """Check that a checkpoint fits the task family, and that its weights fit its settings."""
    family = described.family
    if distribution is None and family not in families():
        raise CheckpointError(
            f"{folder} was trained on the family {abbreviated(family)}, which is not registered. "
            "Give its TaskDistribution: pearl.load(path, distribution=...)."
        )
    if distribution is not None and family_name(distribution) != family:
        raise CheckpointError(
            f"The model in {folder} is of the family {abbreviated(family)}, not {family_name(distribution)!r}. "
            "Give the task distribution of that family."
        )
    config = described.config
    tasks = find_algorithm(config.algorithm).distribution(distribution or make(family))
    task = described.train_tasks[0]
    try:
        env = tasks.make_env(task)
    except ImportError:
        raise
    except Exception as error:  # A family's own code may raise anything on foreign parameters.
        raise CheckpointError(
            f"{outline.paths[STATE]} has the training task {abbreviated(task.to_json())}, but {family} cannot "
            f"build its environment ({type(error).__name__}: {shortened(str(error), 300)}). {REMEDY}"
        ) from error
    try:
        spaces = {"observation": str(env.observation_space), "action": str(env.action_space)}
        if spaces != described.spaces:
            raise CheckpointError(
                f"{folder} was trained on the spaces {shortened(str(described.spaces), 1000)}, but the family now has "
                f"{spaces}."
            )
        horizon = time_limit(env, f"The environments of {family!r} have")
    finally:
        env.close()
    if horizon != described.horizon:
        raise CheckpointError(
            f"{folder} was trained with episodes of {described.horizon} steps, but the family has {horizon}. "
            "Give the task distribution of training: pearl.load(path, distribution=...)."
        )
    if "weights" not in outline.forms:
        raise CheckpointError(f"{folder} holds no weights. {REMEDY}")
    for group in outline.forms.keys() & {"weights", *OF_BELIEFS}:
        found, spaces_of_env = outline.forms[group], (env.observation_space, env.action_space)
        try:
            if group == "weights":
                check_weights(found, config, *spaces_of_env)
            else:
                check_learnt_of_beliefs(group, found, config, *spaces_of_env)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{outline.paths[group]} does not match its config: {shortened(str(error), 500)}. {REMEDY}"
            ) from error


def _restore(model: SavedModel, checkpoint: Checkpoint, described: ModelDocument) -> None:
    groups, paths = checkpoint.groups, checkpoint.paths
    fault = first_fault(groups, without_temperature=is_without_temperature(model.config))
    if fault is not None:
        raise CheckpointError(f"{paths[fault.group]}: {fault}. Load an earlier checkpoint, or train anew.")
    model.agent.load_state_dict(groups["weights"])
    if CHANGES in groups:
        assert isinstance(model.agent, PEARLAgent)  # ``_check_fit`` compared the shapes.
        detector = ChangeDetector(model.agent, torch.Generator())
        detector.load_state_dict(groups[CHANGES])
        model.change_detector = detector.requires_grad_(False)
    if FAMILIARITY in groups:
        try:
            model.familiarity = Familiarity(**groups[FAMILIARITY])
        except ValueError as error:
            raise CheckpointError(f"{paths[FAMILIARITY]} holds no beliefs: {error}. {REMEDY}") from error
    try:
        if groups.keys() - OF_BELIEFS.keys() != {"weights"}:
            model.training.load_tensors(groups)
    except KeyError as error:
        raise CheckpointError(f"{paths[STATE].parent} does not match its config: it lacks {error}. {REMEDY}") from error
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{paths[STATE].parent} does not match its config: {shortened(str(error), 500)}"
        ) from error
    try:
        model.training.load_state(described.training, model.horizon)
        restore_random_state(model._rng, described.acting_rng, "acting_rng")
    except ValueError as error:
        raise CheckpointError(f"{paths[STATE]} is not a model's document: {error}. {REMEDY}") from error
    model.wall_s = described.wall_s
    model.next_evaluation = described.next_evaluation
