"""An agent's steps with the one task of a session."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from agents import Deployable, PEARLAgent, Transitions
from agents.context.changes import ChangeDetector, detector_inputs, encoded
from agents.context.memory import as_context
from agents.context.one_task import OneTaskInNumPy, OneTaskMemory
from encoders import Context
from encoders.pooled.in_numpy import Array

MemoryT = TypeVar("MemoryT")
StepT = TypeVar("StepT")
"""A transition as the agent reads it"""

_ONE_FALSE, _ONE_TRUE = torch.tensor([False]), torch.tensor([True])
_ZERO, _ONE = torch.zeros(1, dtype=torch.float32), torch.ones(1, dtype=torch.float32)


class Steps(ABC, Generic[MemoryT, StepT]):
    """An agent's methods for one task; memories and transitions in the form that is fastest."""

    agent: Deployable[Any]

    @abstractmethod
    def begin(self, rng: torch.Generator) -> MemoryT:
        """Return the memory before any transition."""

    @abstractmethod
    def act(self, observation: Array, memory: MemoryT, deterministic: bool, rng: torch.Generator) -> Array:
        """Return an action (1, action_dim) for an observation (1, observation_dim)."""

    @abstractmethod
    def read(self, rows: tuple[Array, ...], terminal: bool) -> StepT:
        """Return a transition, given its observation, action, reward and next observation, (1, …) each."""

    @abstractmethod
    def observe(self, memory: MemoryT, step: StepT) -> MemoryT:
        """Return the memory after a transition; a NonFiniteError if the belief was computed and is not finite."""

    @abstractmethod
    def fold(self, memory: MemoryT) -> MemoryT:
        """Return the memory with every transition in the belief; a NonFiniteError if that is not finite."""

    @abstractmethod
    def end_episode(self, memory: MemoryT, rng: torch.Generator) -> MemoryT:
        """Return the memory at the start of the next episode."""

    @abstractmethod
    def ratio(self, detector: ChangeDetector, step: StepT, reference: MemoryT) -> float:
        """Return a transition's log-likelihood ratio given the belief of a memory, in nats (``ChangeDetector``)."""

    @abstractmethod
    def to_agent(self, memory: MemoryT) -> Any:
        """Return the memory as the agent's own methods take it."""


class StepsOfAgent(Steps[Any, Transitions]):
    """Steps by the agent's own methods.

    Args:
        agent: the meta-trained agent.
    """

    def __init__(self, agent: Deployable[Any]) -> None:
        self.agent = agent

    def begin(self, rng: torch.Generator) -> Any:  # noqa: D102
        return self.agent.begin(1, rng)

    def act(self, observation: Array, memory: Any, deterministic: bool, rng: torch.Generator) -> Array:  # noqa: D102
        greedy = _ONE_TRUE if deterministic else _ONE_FALSE
        action: Array = self.agent.act(torch.from_numpy(observation), memory, greedy, rng).action.numpy(force=True)
        return action

    def read(self, rows: tuple[Array, ...], terminal: bool) -> Transitions:  # noqa: D102
        before, done, earned, after = map(torch.from_numpy, rows)
        return Transitions(before, done, earned, after, _ONE if terminal else _ZERO)

    def observe(self, memory: Any, step: Transitions) -> Any:  # noqa: D102
        return self.agent.observe(memory, step, _ONE_TRUE)

    def fold(self, memory: Any) -> Any:  # noqa: D102
        return self.agent.fold(memory)

    def end_episode(self, memory: Any, rng: torch.Generator) -> Any:  # noqa: D102
        return self.agent.end_episode(memory, _ONE_TRUE, rng)

    @torch.no_grad()
    def ratio(self, detector: ChangeDetector, step: Transitions, reference: Any) -> float:  # noqa: D102
        assert isinstance(self.agent, PEARLAgent)
        context = encoded(self.agent, as_context((Context(*step[:4], _ONE_TRUE),)))
        return float(detector(detector_inputs(self.agent, context)[:, 0], self.agent.posterior(reference)))

    def to_agent(self, memory: Any) -> Any:  # noqa: D102
        return memory


class StepsInNumPy(Steps[OneTaskMemory, tuple[Array, ...]]):
    """Steps of an agent whose z follows the posterior, without a tensor.

    Args:
        agent: an agent whose ``follows_in_numpy`` holds.
    """

    def __init__(self, agent: PEARLAgent) -> None:
        self.agent = agent
        self._task = OneTaskInNumPy(agent)
        self._by_agent = StepsOfAgent(agent)
        self._latest: tuple[tuple[Array, ...], Array] | None = None
        self._detector: tuple[ChangeDetector, Callable[[Array, Array, Array], float]] | None = None

    def begin(self, rng: torch.Generator) -> OneTaskMemory:  # noqa: D102
        return self._task.from_tensors(self._by_agent.begin(rng))

    def act(  # noqa: D102
        self, observation: Array, memory: OneTaskMemory, deterministic: bool, rng: torch.Generator
    ) -> Array:
        return self._task.act(observation, memory, deterministic, rng)

    def read(self, rows: tuple[Array, ...], terminal: bool) -> tuple[Array, ...]:  # noqa: D102
        return rows

    @np.errstate(all="ignore")  # What is returned is checked, as after PyTorch.
    def observe(self, memory: OneTaskMemory, step: tuple[Array, ...]) -> OneTaskMemory:  # noqa: D102
        found = self._task.observe(memory, self._fields_of(step))
        if found is None:  # PyTorch's form decides, and raises the error.
            own = self._by_agent.observe(self.to_agent(memory), self._by_agent.read(step, terminal=False))
            found = self._task.from_tensors(own)
        return found

    def fold(self, memory: OneTaskMemory) -> OneTaskMemory:  # noqa: D102
        return memory

    def end_episode(self, memory: OneTaskMemory, rng: torch.Generator) -> OneTaskMemory:  # noqa: D102
        return self._task.from_tensors(self._by_agent.end_episode(self.to_agent(memory), rng))

    @np.errstate(all="ignore")
    def ratio(  # noqa: D102
        self, detector: ChangeDetector, step: tuple[Array, ...], reference: OneTaskMemory
    ) -> float:
        known = self._detector
        if known is None or known[0] is not detector:
            known = self._detector = detector, detector.in_numpy()
        return known[1](self._task.with_changes(self._fields_of(step)), reference.mean, reference.stddev)

    def to_agent(self, memory: OneTaskMemory) -> Any:  # noqa: D102
        return self._task.to_tensors(memory)

    def _fields_of(self, step: tuple[Array, ...]) -> Array:
        """Return a transition's fields as the encoder reads them; those of the latest one are known."""
        latest = self._latest
        if latest is None or latest[0] is not step:
            latest = self._latest = step, self._task.read(*step)
        return latest[1]


def steps_of(agent: Deployable[Any]) -> Steps[Any, Any]:
    """Return an agent's steps in the form that is fastest."""
    return StepsInNumPy(agent) if isinstance(agent, PEARLAgent) and agent.follows_in_numpy else StepsOfAgent(agent)
