"""PEARL: context-based meta-reinforcement learning that adapts to new tasks without a gradient."""

from pearl.floors import check_floors
from pearl.garbage import uncollected

with uncollected():
    check_floors()

    from pearl.adaptation import AdaptedPolicy, Session
    from pearl.checkpoint import CheckpointError
    from pearl.config import ConfigError, EvaluationConfig, PEARLConfig, TrainingConfig, load_preset
    from pearl.evaluation import Evaluation
    from pearl.model import PEARL
    from pearl.persistence import load
    from pearl.rollout import NonFiniteError
    from pearl.tasks import (
        Categorical,
        LogUniform,
        Scale,
        Task,
        TaskDistribution,
        TaskDistributionError,
        Uniform,
        UnknownFamilyError,
        check_task_distribution,
        families,
        mirrored,
        perturbed,
        register,
    )
    from pearl.training import DivergedError
    from pearl.version import __version__

__all__ = [
    "PEARL",
    "AdaptedPolicy",
    "Categorical",
    "CheckpointError",
    "ConfigError",
    "DivergedError",
    "Evaluation",
    "EvaluationConfig",
    "LogUniform",
    "NonFiniteError",
    "PEARLConfig",
    "Scale",
    "Session",
    "Task",
    "TaskDistribution",
    "TaskDistributionError",
    "TrainingConfig",
    "Uniform",
    "UnknownFamilyError",
    "__version__",
    "check_task_distribution",
    "families",
    "load",
    "load_preset",
    "mirrored",
    "perturbed",
    "register",
]
