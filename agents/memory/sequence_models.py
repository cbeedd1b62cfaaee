"""Sequence models as memory of a trial: they read single steps when acting and whole trials when learning."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from agents.memories import Rows
from encoders import GatedRecurrentUnit

StateT = TypeVar("StateT", bound=Rows)
"""State of a sequence model"""


class SequenceModel(nn.Module, ABC, Generic[StateT]):
    """Reads a trial's transitions in time order. The caller holds the model's state.

    Reading a whole trial at once gives the same outputs as reading it step by step.
    """

    width: int
    """Width of the output"""

    @abstractmethod
    def begin(self, n_tasks: int) -> StateT:
        """Return the state before the first transition: tensors, one row per task."""

    @abstractmethod
    def step(self, state: StateT, transition: Tensor) -> StateT:
        """Return the state after one more transition of each task, (task, input_dim)."""

    @abstractmethod
    def output(self, state: StateT) -> Tensor:
        """Return the output for the trial so far, (task, width)."""

    @abstractmethod
    def forward(self, transitions: Tensor) -> Tensor:
        """Return the outputs before the first transition and after each one, (task, step + 1, width).

        Args:
            transitions: (task, step, input_dim), padding at the end.
        """


class GRU(SequenceModel[Tensor]):
    """A gated recurrent unit (Cho et al. 2014), as in RL² (Duan et al. 2016).

    Args:
        input_dim: width of the inputs.
        width: width of the hidden state.
    """

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.gru = GatedRecurrentUnit(input_dim, width)

    def begin(self, n_tasks: int) -> Tensor:
        """Return the hidden state before the first transition, zeros (task, width)."""
        return torch.zeros(n_tasks, self.width, dtype=torch.float32)

    def step(self, state: Tensor, transition: Tensor) -> Tensor:
        """Return the hidden state (task, width) after one more transition of each task, (task, input_dim)."""
        _, hidden = self.gru(transition.unsqueeze(1), state.unsqueeze(0))
        after: Tensor = hidden.squeeze(0)
        return after

    def output(self, state: Tensor) -> Tensor:
        """Return the hidden state itself, (task, width)."""
        return state

    def forward(self, transitions: Tensor) -> Tensor:  # noqa: D102
        begun = self.begin(len(transitions))
        after, _ = self.gru(transitions, begun.unsqueeze(0))
        return torch.cat([begun.unsqueeze(1), after], dim=1)


class EmbeddedGRU(GRU):
    """A gated recurrent unit that reads an embedding of each transition, as in Ni et al. (2022).

    In a recurrent unit only the gates multiply. Without a layer before it, it hardly learns from combinations of inputs
    within a transition, such as a position and the reward there.

    Args:
        input_dim: width of the inputs.
        width: width of the embedding and of the hidden state.
    """

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__(width, width)
        self.embedding = nn.Sequential(nn.Linear(input_dim, width), nn.ReLU())

    def step(self, state: Tensor, transition: Tensor) -> Tensor:  # noqa: D102
        return super().step(state, self.embedding(transition))

    def forward(self, transitions: Tensor) -> Tensor:  # noqa: D102
        return super().forward(self.embedding(transitions))
