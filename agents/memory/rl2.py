"""RL²: meta-learning by a recurrent policy (Duan et al. 2016)."""

from dataclasses import dataclass

from agents.memory.on_policy import MemoryAgent, MemoryAgentConfig
from agents.memory.sequence_models import GRU
from encoders import ConfigError


@dataclass(frozen=True, kw_only=True)
class RL2AgentConfig(MemoryAgentConfig):
    """Settings of RL²: policy and training."""

    memory_width: int = 128
    """Width of the hidden state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_width < 1:
            raise ConfigError(f"agent.memory_width must be at least 1, got {self.memory_width}.")


class RL2Agent(MemoryAgent):
    """RL²: a gated recurrent unit that keeps its hidden state between episodes. See ``MemoryAgent``."""

    config: RL2AgentConfig

    def make_memory(self, input_dim: int) -> GRU:
        """Build the recurrent unit."""
        return GRU(input_dim, self.config.memory_width)
