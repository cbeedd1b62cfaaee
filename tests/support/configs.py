"""The settings that there are: of whole runs, and of their sections."""

from typing import Any

from agents import (
    AuxiliaryConfig,
    ExplorationConfig,
    GradientAgentConfig,
    MAMLAgentConfig,
    ObservationsConfig,
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
from pearl.config.training import CollectionConfig, ContextConfig, RelabellingConfig, TrialReplayConfig

RUNS: dict[Any, set[str]] = {
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
    ObservationsConfig: (PEARLConfig, "agent.observations"),
    ExplorationConfig: (PEARLConfig, "agent.exploration"),
    AuxiliaryConfig: (PEARLConfig, "agent.auxiliary"),
    ContextConfig: (PEARLConfig, "training.context"),
    RelabellingConfig: (PEARLConfig, "training.relabelling"),
}
"""Each section's config, a run's that has one, and its dotted name there"""


def nested(section: str, settings: dict[str, object]) -> dict[str, object]:
    """Settings of a section, given by its dotted name, as a run's plain data."""
    for part in reversed(section.split(".")):
        settings = {part: settings}
    return settings
