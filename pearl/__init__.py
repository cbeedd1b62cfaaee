"""PEARL: context-based meta-reinforcement learning that adapts to new tasks without a gradient."""

from pearl.floors import check_floors
from pearl.process.garbage import uncollected

with uncollected():
    check_floors()

    from agents.finite import NonFiniteError
    from encoders import UnregisteredError, register_encoder
    from pearl.adaptation.policy import AdaptedPolicy
    from pearl.adaptation.session import Session
    from pearl.algorithms import register_algorithm
    from pearl.checkpoint.store import CheckpointError
    from pearl.config.reading import ConfigError
    from pearl.config.run import (
        Config,
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
    from pearl.config.training import (
        CollectionConfig,
        ContextConfig,
        RelabellingConfig,
        TrainingConfig,
        TrialReplayConfig,
    )
    from pearl.evaluation.drift import DriftEvaluation, evaluate_drift
    from pearl.evaluation.protocol import Evaluation
    from pearl.model.meta_learner import PEARL, MetaLearner, load
    from pearl.tasks import (
        Categorical,
        DriftSchedule,
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
        drifting,
        mirrored,
        perturbed,
        register,
        task_observed,
    )
    from pearl.tasks.registry import families
    from pearl.training.divergence import DivergedError
    from pearl.training.off_policy import ReplayTraining, TrialReplayTraining
    from pearl.training.on_policy import TrialTraining
    from pearl.version import __version__

__all__ = [
    "PEARL",
    "AdaptedPolicy",
    "Categorical",
    "CheckpointError",
    "CollectionConfig",
    "Config",
    "ConfigError",
    "ContextConfig",
    "DivergedError",
    "DriftEvaluation",
    "DriftSchedule",
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
    "RelabellingConfig",
    "ReplayTraining",
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
    "TrialReplayTraining",
    "TrialTraining",
    "Uniform",
    "UnknownFamilyError",
    "UnregisteredError",
    "__version__",
    "check_task_distribution",
    "drifting",
    "evaluate_drift",
    "families",
    "load",
    "load_preset",
    "mirrored",
    "perturbed",
    "preset",
    "register",
    "register_algorithm",
    "register_encoder",
    "task_observed",
]
