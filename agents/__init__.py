"""Agents: how to act and learn once the belief is given."""

from agents.base import Deployable, LearningAgent, MemorylessAgent, MemoryT, MetaAgent
from agents.config import AuxiliaryConfig, ExplorationConfig, LearningSettings, ObservationsConfig, PEARLAgentConfig
from agents.context.memory import PEARLMemory
from agents.context.pearl import PEARLAgent
from agents.gradient.base import GradientAgentConfig
from agents.gradient.maml import FOMAMLAgent, MAMLAgent, MAMLAgentConfig
from agents.gradient.reptile import ReptileAgent
from agents.memory.recurrent_sac import RecurrentSACAgent, RecurrentSACAgentConfig
from agents.memory.rl2 import RL2Agent, RL2AgentConfig
from agents.memory.transformer import TransformerAgent, TransformerAgentConfig
from agents.spaces import check_spaces
from agents.types import ActionChoice, MetaBatch, Transitions, TrialBatch, Trials

__distribution__ = "pearl-metarl"

__all__ = [
    "ActionChoice",
    "AuxiliaryConfig",
    "Deployable",
    "ExplorationConfig",
    "FOMAMLAgent",
    "GradientAgentConfig",
    "LearningAgent",
    "LearningSettings",
    "MAMLAgent",
    "MAMLAgentConfig",
    "MemoryT",
    "MemorylessAgent",
    "MetaAgent",
    "MetaBatch",
    "ObservationsConfig",
    "PEARLAgent",
    "PEARLAgentConfig",
    "PEARLMemory",
    "RL2Agent",
    "RL2AgentConfig",
    "RecurrentSACAgent",
    "RecurrentSACAgentConfig",
    "ReptileAgent",
    "TransformerAgent",
    "TransformerAgentConfig",
    "Transitions",
    "TrialBatch",
    "Trials",
    "check_spaces",
]
