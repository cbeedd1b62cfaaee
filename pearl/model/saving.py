"""Saving of models: the contents of their checkpoints."""

import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

from agents import LearningAgent
from agents.context.changes import ChangeDetector
from agents.finite import NonFiniteError
from pearl.adaptation.familiarity import Familiarity
from pearl.checkpoint.finite_tensors import first_fault
from pearl.checkpoint.random_state import random_state_to_json
from pearl.checkpoint.store import write_checkpoint
from pearl.config.reading import to_mapping
from pearl.config.run import Config
from pearl.model.document import VERSION
from pearl.tasks import Task, TaskDistribution
from pearl.training.base import MetaTraining
from pearl.version import __version__

CHECKPOINT = "checkpoint"
"""Name of the checkpoint folder inside a run folder."""
CHANGES, FAMILIARITY = "changes", "familiarity"
"""Groups of a checkpoint's tensors that hold the change detector's weights and the beliefs of training tasks"""


class SavedModel(ABC):
    """Base class: the state of a model that a checkpoint holds."""

    family: str
    config: Config
    seed: int
    train_tasks: list[Task]
    test_tasks: list[Task]
    task_distribution: TaskDistribution
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    horizon: int
    """Steps of an episode"""
    agent: LearningAgent[Any]
    training: MetaTraining[Any, Any]
    change_detector: ChangeDetector | None
    """Notices changes of the task; None until ``fit_change_detector``"""
    familiarity: Familiarity | None
    """Beliefs of training tasks; None until ``fit_change_detector``"""
    wall_s: float
    """Seconds of training so far"""
    next_evaluation: int
    """Environment steps at which the next evaluation is due"""
    _rng: torch.Generator

    @staticmethod
    @abstractmethod
    def class_of(config: Config) -> type[Any]:
        """Return the class of models with these settings."""


def save(model: SavedModel, path: Path, *, training_state: bool = True) -> None:
    """Write ``model`` to a checkpoint folder, atomically.

    Args:
        model: the model.
        path: the folder.
        training_state: whether to save the training state beside the weights, so that training can resume.

    Raises:
        NonFiniteError: a weight or a tensor of the training state is NaN or infinite; nothing was written.
        CheckpointError: the disk is full or not writable; the last good checkpoint is kept.
    """
    groups = {"weights": dict(model.agent.state_dict())}
    if model.change_detector is not None:
        groups[CHANGES] = dict(model.change_detector.state_dict())
    if model.familiarity is not None:
        groups[FAMILIARITY] = model.familiarity.tensors()
    if training_state:
        groups |= model.training.tensors()
    fault = first_fault(groups, without_temperature=is_without_temperature(model.config))
    if fault is not None:
        raise NonFiniteError(
            f"The model cannot be saved to {path}: {fault}. Nothing was written. Go on from an earlier checkpoint, "
            "with a lower agent.learning_rate or agent.reward_scale."
        )
    document = {
        "version": VERSION,
        "family": model.family,
        "algorithm": model.config.algorithm,
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
        "versions": versions(model.task_distribution.simulators),
    }
    write_checkpoint(path, groups, document)


def versions(simulators: Sequence[str] = ()) -> dict[str, str]:
    """Return the package versions that a result depends on, including ``TaskDistribution.simulators``."""
    names = ("gymnasium", "numpy", "stable-baselines3", *simulators)
    # torch.__version__ includes the build, such as 2.13.0+cu130; the metadata may lack it.
    own = {"pearl-metarl": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    return own | {name: metadata.version(name) for name in names}


def is_without_temperature(config: Config) -> bool:
    """Return whether soft actor-critic's temperature is fixed to 0; its logarithm is then -inf."""
    return getattr(config.agent, "temperature", None) == 0


def describe(model: SavedModel) -> dict[str, Any]:
    """Return the contents of a run's ``config.json``."""
    return {
        "family": model.family,
        "algorithm": model.config.algorithm,
        "seed": model.seed,
        **to_mapping(model.config),
        "versions": versions(model.task_distribution.simulators),
    }
