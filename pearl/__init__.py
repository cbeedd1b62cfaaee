"""PEARL: context-based meta-reinforcement learning that adapts to new tasks without a gradient."""

from pearl.floors import check_floors
from pearl.garbage import uncollected

with uncollected():
    check_floors()

    from agents.finite import NonFiniteError
    from pearl.adaptation import AdaptedPolicy, Session
    from pearl.checkpoint import CheckpointError
    from pearl.config import (
        EvaluationConfig,
        FOMAMLConfig,
        MAMLConfig,
        MultitaskSACConfig,
        OracleSACConfig,
        PEARLConfig,
        RecurrentSACConfig,
        ReptileConfig,
        RL2Config,
        TransformerConfig,
        load_preset,
        preset,
    )
    from pearl.config_reading import ConfigError
    from pearl.divergence import DivergedError
    from pearl.evaluation import Evaluation
    from pearl.model import PEARL, MetaLearner
    from pearl.persistence import load
    from pearl.tasks import (
        Categorical,
        EnvError,
        LogUniform,
        Scale,
        Task,
        TaskDistribution,
        TaskDistributionError,
        TaskDistributionWarning,
        Uniform,
        UnknownFamilyError,
        check_task_distribution,
        families,
        mirrored,
        perturbed,
        register,
        told,
    )
    from pearl.training_config import CollectionConfig, TrainingConfig, TrialReplayConfig
    from pearl.version import __version__

__all__ = [
    "PEARL",
    "AdaptedPolicy",
    "Categorical",
    "CheckpointError",
    "CollectionConfig",
    "ConfigError",
    "DivergedError",
    "EnvError",
    "Evaluation",
    "EvaluationConfig",
    "FOMAMLConfig",
    "LogUniform",
    "MAMLConfig",
    "MetaLearner",
    "MultitaskSACConfig",
    "NonFiniteError",
    "OracleSACConfig",
    "PEARLConfig",
    "RL2Config",
    "RecurrentSACConfig",
    "ReptileConfig",
    "Scale",
    "Session",
    "Task",
    "TaskDistribution",
    "TaskDistributionError",
    "TaskDistributionWarning",
    "TrainingConfig",
    "TransformerConfig",
    "TrialReplayConfig",
    "Uniform",
    "UnknownFamilyError",
    "__version__",
    "check_task_distribution",
    "families",
    "load",
    "load_preset",
    "mirrored",
    "perturbed",
    "preset",
    "register",
    "told",
]
