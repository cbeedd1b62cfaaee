"""Protocols of meta-learners, for rollouts, evaluation, adaptation and training; base classes of agents."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, Protocol, Self, TypeVar, cast, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor, nn

from agents.config import LearningSettings
from agents.networks.actions import make_actions
from agents.networks.features import ImageFeatures, NormalisedFeatures, VectorFeatures
from agents.spaces import check_spaces
from agents.types import ActionChoice, MetaBatch, Transitions, Trials

MemoryT = TypeVar("MemoryT")
"""An agent's memory: its knowledge of the tasks, one row per task. The caller holds it, not the agent."""


BatchT = TypeVar("BatchT", contravariant=True)
"""Data of an update: a ``MetaBatch`` or ``TrialBatch`` from a replay, or the ``Trials`` of one iteration"""


class MetaAgent(Protocol[MemoryT]):
    """An agent that learns within a trial: several episodes of one task, for many tasks side by side.

    The memory of PEARL is a belief and a sample of z, of a recurrent agent a hidden state, of a plain policy None.
    """

    def begin(self, n_tasks: int, rng: torch.Generator) -> MemoryT:
        """Return the memory of ``n_tasks`` new trials, before the first transition."""
        ...

    def act(self, observation: Tensor, memory: MemoryT, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Choose one action per task.

        Args:
            observation: (task, observation_dim).
            memory: one row per task.
            deterministic: (task,) bool; where True, the agent takes its best guess and samples nothing.
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
    """A meta-trained agent that adapts to environments with its spaces. Its memory can be stored and continued."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def fold(self, memory: MemoryT) -> MemoryT:
        """Fold buffered observations into the memory."""
        ...

    def redraw(self, memory: MemoryT, rng: torch.Generator) -> MemoryT:
        """Return the memory with new draws for its later episodes."""
        ...


class LearningAgent(Deployable[Any], Protocol[BatchT]):
    """A deployable agent that meta-training can train on batches of one type. It is an ``nn.Module`` too."""

    optimizer: torch.optim.Optimizer
    observation_dim: int
    """Width of an observation as a row"""
    action_dim: int
    """Width of an action as a row"""

    @property
    def gradient_steps_per_trial(self) -> int:
        """Number of gradient steps in which the agent adapts to a task."""
        ...

    @property
    def normalises_observations(self) -> bool:
        """Whether the agent normalises observations by their running statistics."""
        ...

    def update(self, batch: BatchT, rng: torch.Generator, /) -> Mapping[str, Tensor]:
        """Learn from a batch.

        Args:
            batch: a batch of the type that the agent learns from.
            rng: the source of every random draw.

        Returns:
            Scalars for the log, detached. An agent that learns from ``Trials`` takes several gradient steps per update
            and also returns their number, ``gradient_steps``.
        """
        ...

    def see(self, trials: Trials) -> None:
        """Update the running statistics, if any, by an iteration's trials."""
        ...

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the optimizer's step size for everything that learns."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters, as ``nn.Module`` does."""
        ...

    def buffers(self) -> Iterator[Tensor]:
        """Return the buffers, as ``nn.Module`` does."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by name, as ``nn.Module`` does."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load a state that ``state_dict`` returned, as ``nn.Module`` does."""
        ...


class MetaBatchAgent(LearningAgent[MetaBatch], Protocol):
    """A learning agent that learns from meta-batches: transitions, and contexts drawn independently of them."""

    @property
    def reads_early_context(self) -> bool:
        """Whether ``update`` wants an early context in its ``MetaBatch``."""
        ...

    @property
    def reads_task_numbers(self) -> bool:
        """Whether ``update`` wants numbers that describe the tasks in its ``MetaBatch``."""
        ...

    def collecting(self, rng: torch.Generator) -> MetaAgent[Any]:
        """Return the agent that plays the next iteration of training; ``rng`` is the source of every random draw."""
        ...


@runtime_checkable
class MovableAgent(MetaBatchAgent, Protocol):
    """An agent whose copy can learn on another device, with the gradient step captured in a CUDA graph."""

    @property
    def config(self) -> LearningSettings:
        """The agent's settings."""
        ...

    def to(self, device: torch.device, /) -> Self:
        """Move parameters and buffers to a device, as ``nn.Module`` does."""
        ...

    def make_optimizer(self, learning_rate: float | Tensor, *, capturable: bool = False) -> torch.optim.Optimizer:
        """Build the optimizer over everything that learns.

        Args:
            learning_rate: the step size; a float32 scalar tensor on the parameters' device if it changes between
                replays of a CUDA graph.
            capturable: whether a step can be captured in a CUDA graph.
        """
        ...


class NetworkAgent(nn.Module, Generic[MemoryT]):
    """Base class of learning agents. Subclasses add acting, memory and ``update`` to make it a ``LearningAgent``.

    It holds the spaces, the conversion of actions, and the optimizer's step size.

    Args:
        observation_space: vectors, spaces that Gymnasium flattens to vectors, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds, or too many actions.
    """

    optimizer: torch.optim.Optimizer
    features: VectorFeatures | ImageFeatures
    """Maps observations to the networks' inputs (``make_features``)"""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        super().__init__()
        self.observation_dim, self.action_dim = check_spaces(observation_space, action_space)
        self.observation_space = observation_space
        self.action_space = action_space
        self.actions = make_actions(action_space)

    @property
    def reads_early_context(self) -> bool:
        """Whether ``update`` wants an early context in its ``MetaBatch``."""
        return False

    @property
    def reads_task_numbers(self) -> bool:
        """Whether ``update`` wants numbers that describe the tasks in its ``MetaBatch``."""
        return False

    def collecting(self, rng: torch.Generator) -> MetaAgent[Any]:
        """Return the agent that plays the next iteration of training: the agent itself."""
        return cast(MetaAgent[Any], self)

    @property
    def gradient_steps_per_trial(self) -> int:
        """Number of gradient steps in which the agent adapts to a task; 0 if it adapts by its memory."""
        return 0

    @property
    def normalises_observations(self) -> bool:
        """Whether observations are normalised by their running statistics."""
        return isinstance(getattr(self, "features", None), NormalisedFeatures)

    def see(self, trials: Trials) -> None:
        """Update the running statistics, if any, by an iteration's trials."""
        if isinstance(self.features, NormalisedFeatures):
            self.features.see(trials.transitions.observation[trials.mask])

    def fold(self, memory: MemoryT) -> MemoryT:
        """Return the memory unchanged: most agents buffer no observations."""
        return memory

    def redraw(self, memory: MemoryT, rng: torch.Generator) -> MemoryT:
        """Return the memory unchanged: most agents' memories hold no draws."""
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
    """Draw the initial weights of networks built in this context from ``rng``, in single precision.

    The global generator and PyTorch's default precision are restored afterwards.
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
    """Base class of agents without a memory, such as a random policy or an oracle."""

    def begin(self, n_tasks: int, rng: torch.Generator) -> None:
        """Return the empty memory."""

    def observe(self, memory: None, transition: Transitions, active: Tensor) -> None:
        """Return the empty memory."""

    def end_episode(self, memory: None, ended: Tensor, rng: torch.Generator) -> None:
        """Return the empty memory."""
