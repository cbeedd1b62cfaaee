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
from pearl.tasks import Task, TaskDistribution, UnknownFamilyError, families, register  # noqa: E402
from pearl.training import DivergedError  # noqa: E402
from pearl.version import __version__  # noqa: E402

__all__ = [
    "PEARL",
    "AdaptedPolicy",
    "CheckpointError",
    "ConfigError",
    "DivergedError",
    "Evaluation",
    "EvaluationConfig",
    "NonFiniteError",
    "PEARLConfig",
    "Session",
    "Task",
    "TaskDistribution",
    "TrainingConfig",
    "UnknownFamilyError",
    "__version__",
    "families",
    "load",
    "load_preset",
    "register",
]
