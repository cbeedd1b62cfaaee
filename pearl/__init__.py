"""PEARL: context-based meta-reinforcement learning that adapts to new tasks without a gradient."""

from pearl.floors import check_floors

check_floors()

from pearl.adaptation import AdaptedPolicy, Session  # noqa: E402
from pearl.checkpoint import CheckpointError  # noqa: E402
from pearl.config import ConfigError, EvaluationConfig, PEARLConfig, TrainingConfig, load_preset  # noqa: E402
from pearl.evaluation import Evaluation  # noqa: E402
from pearl.model import PEARL  # noqa: E402
from pearl.persistence import load  # noqa: E402
from pearl.rollout import NonFiniteError  # noqa: E402
from pearl.tasks import (  # noqa: E402
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
from pearl.training import DivergedError  # noqa: E402
from pearl.version import __version__  # noqa: E402

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
