"""RL²: a recurrent network learns to learn (Duan et al. 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agents.memory_based import MemoryAgent
from agents.ppo import PPOConfig
from agents.sequence_models import SequenceModel


@dataclass(frozen=True, kw_only=True)
class RL2AgentConfig(PPOConfig):
    """Settings of RL²'s policy and of how it is trained."""

    memory_width: int = 128
    """Width of the hidden state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_width < 1:
            raise ValueError(f"agent.memory_width must be at least 1, got {self.memory_width}.")


class GRU(SequenceModel):
    """A gated recurrent unit (Cho et al. 2014), as in RL² (Duan et al. 2016).

    Args:
        input_dim: width of a transition as it is read.
        width: of the hidden state.
    """

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(input_dim, width, batch_first=True)

    def begin(self, n_tasks: int) -> Tensor:
        """Return the hidden state before any transition, zeros (task, width)."""
        return torch.zeros(n_tasks, self.width)

    def step(self, state: Tensor, transition: Tensor) -> Tensor:
        """Return the hidden state (task, width) after one more transition of each task, (task, input_dim)."""
        _, hidden = self.gru(transition.unsqueeze(1), state.unsqueeze(0))
        after: Tensor = hidden.squeeze(0)
        return after

    def read(self, state: Tensor) -> Tensor:
        """Return the hidden state itself, (task, width)."""
        return state

    def forward(self, transitions: Tensor) -> Tensor:  # noqa: D102
        begun = self.begin(len(transitions))
        after, _ = self.gru(transitions, begun.unsqueeze(0))
        return torch.cat([begun.unsqueeze(1), after], dim=1)


class RL2Agent(MemoryAgent):
    """RL²: a gated recurrent unit whose hidden state outlasts episodes. See ``MemoryAgent``."""

    config: RL2AgentConfig

    def make_memory(self, input_dim: int) -> GRU:
        """Build the recurrent unit."""
        return GRU(input_dim, self.config.memory_width)
