"""What a memory-based agent remembers a trial with: a step at a time when acting, whole trials when learning."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class SequenceModel(nn.Module, ABC):
    """Reads a trial's transitions in time order; what it knows of a trial is a state, which the caller holds.

    Reading a whole trial at once equals stepping through it.
    """

    width: int
    """Numbers that it says of a trial"""

    @abstractmethod
    def begin(self, n_tasks: int) -> Any:
        """Return the state before any transition: tensors, a row per task."""

    @abstractmethod
    def step(self, state: Any, transition: Tensor) -> Any:
        """Return the state after one more transition of each task, (task, input_dim)."""

    @abstractmethod
    def read(self, state: Any) -> Tensor:
        """Return what the state says of the trial so far, (task, width)."""

    @abstractmethod
    def forward(self, transitions: Tensor) -> Tensor:
        """Return what is said of trials before their first transition and after each, (task, step + 1, width).

        Args:
            transitions: (task, step, input_dim), padding at the end.
        """
