"""Agents: how to act and learn once the belief is given."""

from agents.base import Deployable, MemorylessAgent, MemoryT, MetaAgent
from agents.config import PEARLAgentConfig
from agents.gradient_based import GradientAgentConfig
from agents.maml import FOMAMLAgent, MAMLAgent, MAMLAgentConfig
from agents.pearl import PEARLAgent, PEARLMemory
from agents.recurrent_sac import RecurrentSACAgent, RecurrentSACAgentConfig
from agents.reptile import ReptileAgent
from agents.rl2 import RL2Agent, RL2AgentConfig
from agents.spaces import check_spaces
from agents.transformer import TransformerAgent, TransformerAgentConfig
from agents.types import ActionChoice, MetaBatch, Transitions, TrialBatch, Trials

__distribution__ = "pearl-metarl"

__all__ = [
    "ActionChoice",
    "Deployable",
    "FOMAMLAgent",
    "GradientAgentConfig",
    "MAMLAgent",
    "MAMLAgentConfig",
    "MemoryT",
    "MemorylessAgent",
    "MetaAgent",
    "MetaBatch",
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
