"""Sequence models, the memory of a trial: a step at a time when acting, whole trials when learning."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from agents.memories import Rows
from encoders import GatedRecurrentUnit

StateT = TypeVar("StateT", bound=Rows)
"""State of a sequence model"""


class SequenceModel(nn.Module, ABC, Generic[StateT]):
    """Reads a trial's transitions in time order; what it knows of a trial is a state, which the caller holds.

    Reading a whole trial at once equals stepping through it.
    """

    width: int
    """Numbers that it says of a trial"""

    @abstractmethod
    def begin(self, n_tasks: int) -> StateT:
        """Return the state before any transition: tensors, a row per task."""

    @abstractmethod
    def step(self, state: StateT, transition: Tensor) -> StateT:
        """Return the state after one more transition of each task, (task, input_dim)."""

    @abstractmethod
    def output(self, state: StateT) -> Tensor:
        """Return what the state says of the trial so far, (task, width)."""

    @abstractmethod
    def forward(self, transitions: Tensor) -> Tensor:
        """Return what is said of trials before their first transition and after each, (task, step + 1, width).

        Args:
            transitions: (task, step, input_dim), padding at the end.
        """


class GRU(SequenceModel[Tensor]):
    """A gated recurrent unit (Cho et al. 2014), as in RL² (Duan et al. 2016).

    Args:
        input_dim: width of a transition as it is read.
        width: of the hidden state.
    """

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.gru = GatedRecurrentUnit(input_dim, width)

    def begin(self, n_tasks: int) -> Tensor:
        """Return the hidden state before any transition, zeros (task, width)."""
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

    Gates are all that multiplies in a recurrent unit: without a layer before it, it hardly learns what two numbers of a
    transition say together, such as a place and the reward there.

    Args:
        input_dim: width of a transition as it is read.
        width: of the embedding and of the hidden state.
    """

    def __init__(self, input_dim: int, width: int) -> None:
        super().__init__(width, width)
        self.embedding = nn.Sequential(nn.Linear(input_dim, width), nn.ReLU())

    def step(self, state: Tensor, transition: Tensor) -> Tensor:  # noqa: D102
        return super().step(state, self.embedding(transition))

    def forward(self, transitions: Tensor) -> Tensor:  # noqa: D102
        return super().forward(self.embedding(transitions))
