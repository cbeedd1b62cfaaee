"""The protocol that rollouts, evaluation and adaptation speak with every meta-learner."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import gymnasium as gym
import torch
from torch import Tensor, nn

from agents.networks.actions import make_actions
from agents.spaces import check_spaces
from agents.types import ActionChoice, Transitions

MemoryT = TypeVar("MemoryT")
"""What an agent knows of the tasks it is acting in: explicit, one row per task, never kept in the agent."""


class MetaAgent(Protocol[MemoryT]):
    """An agent that learns within a trial: several episodes of one task, for many tasks side by side.

    PEARL's memory is a belief and a sample of z, a recurrent agent's is a hidden state, a plain policy's is empty.
    """

    def begin(self, n_tasks: int, rng: torch.Generator) -> MemoryT:
        """Return the memory of ``n_tasks`` new trials, before anything was seen."""
        ...

    def act(self, observation: Tensor, memory: MemoryT, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Choose one action per task.

        Args:
            observation: (task, observation_dim).
            memory: one row per task.
            deterministic: (task,) bool; where True the agent takes its best guess and samples nothing.
            rng: the source of every random draw.
        """
        ...

    def observe(self, memory: MemoryT, transition: Transitions, active: Tensor) -> MemoryT:
        """Return the memory after one transition of each task where ``active`` (task,) is True."""
        ...

    def end_episode(self, memory: MemoryT, ended: Tensor, rng: torch.Generator) -> MemoryT:
        """Return the memory at the start of the next episode of each task where ``ended`` (task,) is True."""
        ...


class Deployable(MetaAgent[MemoryT], Protocol[MemoryT]):
    """A meta-trained agent, which adapts to environments of its spaces and whose memory can be handed on."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def read(self, memory: MemoryT) -> MemoryT:
        """Return the memory with everything taken in that was put off."""
        ...

    def redraw(self, memory: MemoryT, rng: torch.Generator) -> MemoryT:
        """Return the memory with new draws in the place of those it holds for later episodes."""
        ...


class NetworkAgent(nn.Module):
    """Shared part of agents that learn: spaces, how actions are read and given, one optimizer's step size.

    Args:
        observation_space: vectors, what Gymnasium can flatten to them, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.

    Raises:
        TypeError: a space is of a kind that is not supported.
        ValueError: an action space without finite bounds, or with too many actions.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        super().__init__()
        self.observation_dim, self.action_dim = check_spaces(observation_space, action_space)
        self.observation_space = observation_space
        self.action_space = action_space
        self.actions = make_actions(action_space)

    @property
    def gradient_steps_per_trial(self) -> int:
        """Gradient steps that the agent takes in adapting to a task; none where it adapts by remembering."""
        return 0

    def read(self, memory: Any) -> Any:
        """Return the memory itself: most agents put nothing off."""
        return memory

    def redraw(self, memory: Any, rng: torch.Generator) -> Any:
        """Return the memory itself: most agents' hold no draws."""
        return memory

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the optimizer's step size for everything that learns."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate


@contextmanager
def initial_weights(rng: torch.Generator) -> Iterator[None]:
    """Let ``rng`` draw the initial weights of the networks built within, which are in single precision.

    The global generator and PyTorch's default precision stay as they were.
    """
    precision = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=rng, device=rng.device)))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(precision)


class MemorylessAgent:
    """Shared part of agents that keep nothing of a trial: a random policy, a policy that is told the task."""

    def begin(self, n_tasks: int, rng: torch.Generator) -> None:
        """Return the empty memory."""

    def observe(self, memory: None, transition: Transitions, active: Tensor) -> None:
        """Return the empty memory."""

    def end_episode(self, memory: None, ended: Tensor, rng: torch.Generator) -> None:
        """Return the empty memory."""
