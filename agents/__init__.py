"""Agents: how to act and learn once the belief is given."""

from agents.base import MemorylessAgent, MemoryT, MetaAgent
from agents.config import PEARLAgentConfig
from agents.pearl import PEARLAgent, PEARLMemory
from agents.spaces import check_spaces
from agents.types import ActionChoice, MetaBatch, Transitions

__distribution__ = "pearl-metarl"

__all__ = [
    "ActionChoice",
    "MemoryT",
    "MemorylessAgent",
    "MetaAgent",
    "MetaBatch",
    "PEARLAgent",
    "PEARLAgentConfig",
    "PEARLMemory",
    "Transitions",
    "check_spaces",
]
