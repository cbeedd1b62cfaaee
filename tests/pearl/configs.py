"""The settings that there are: of whole runs, and of their sections."""

from agents import PEARLAgentConfig, RL2AgentConfig, TransformerAgentConfig
from encoders import EncoderConfig
from pearl import EvaluationConfig, PEARLConfig, TrainingConfig
from pearl.config import CollectionConfig, RL2Config, TransformerConfig

RUNS = {
    PEARLConfig: {"config", "model"},
    RL2Config: {"config", "settings"},
    TransformerConfig: {"config", "settings"},
}
"""Each system's config and the names of variables and attributes that hold one"""
SECTIONS = {
    EncoderConfig: (PEARLConfig, "encoder"),
    PEARLAgentConfig: (PEARLConfig, "agent"),
    TrainingConfig: (PEARLConfig, "training"),
    CollectionConfig: (RL2Config, "training"),
    EvaluationConfig: (PEARLConfig, "evaluation"),
    RL2AgentConfig: (RL2Config, "agent"),
    TransformerAgentConfig: (TransformerConfig, "agent"),
}
"""Each section's config, a run's that has one, and its name there"""
