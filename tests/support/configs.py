"""The settings that there are: of whole runs, and of their sections."""

from agents import (
    GradientAgentConfig,
    MAMLAgentConfig,
    PEARLAgentConfig,
    RecurrentSACAgentConfig,
    RL2AgentConfig,
    TransformerAgentConfig,
)
from encoders import EncoderConfig
from pearl import EvaluationConfig, PEARLConfig, TrainingConfig
from pearl.config.run import (
    FOMAMLConfig,
    MAMLConfig,
    MultitaskSACConfig,
    OracleSACConfig,
    RecurrentSACConfig,
    ReptileConfig,
    RL2Config,
    TransformerConfig,
)
from pearl.config.training import CollectionConfig, TrialReplayConfig

RUNS = {
    PEARLConfig: {"config", "model"},
    MultitaskSACConfig: {"config", "model"},
    OracleSACConfig: {"config", "model"},
    MAMLConfig: {"config", "settings"},
    FOMAMLConfig: {"config", "settings"},
    ReptileConfig: {"config", "settings"},
    RL2Config: {"config", "settings"},
    TransformerConfig: {"config", "settings"},
    RecurrentSACConfig: {"config", "settings"},
}
"""Each algorithm's config and the names of variables and attributes that hold one"""
SECTIONS = {
    EncoderConfig: (PEARLConfig, "encoder"),
    PEARLAgentConfig: (PEARLConfig, "agent"),
    TrainingConfig: (PEARLConfig, "training"),
    CollectionConfig: (RL2Config, "training"),
    EvaluationConfig: (PEARLConfig, "evaluation"),
    MAMLAgentConfig: (MAMLConfig, "agent"),
    GradientAgentConfig: (ReptileConfig, "agent"),
    RL2AgentConfig: (RL2Config, "agent"),
    TransformerAgentConfig: (TransformerConfig, "agent"),
    RecurrentSACAgentConfig: (RecurrentSACConfig, "agent"),
    TrialReplayConfig: (RecurrentSACConfig, "training"),
}
"""Each section's config, a run's that has one, and its name there"""
