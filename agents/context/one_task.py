"""Steps of one task in NumPy, without a tensor: a robot's loop has no batch that pays for the overhead of PyTorch."""

from typing import NamedTuple

import torch

from agents.context.draws import LatestNoise, StratifiedDraws
from agents.context.memory import PEARLMemory
from agents.context.pearl import PEARLAgent
from encoders.pooled.in_numpy import Array, Arrays
from encoders.types import Belief


class OneTaskMemory(NamedTuple):
    """``PEARLMemory`` of one task whose z follows the posterior; rows (1, …)."""

    belief: Arrays
    kind: type[Belief]
    """The belief's own class"""
    mean: Array
    stddev: Array
    z: Array
    draws: StratifiedDraws
    steps: Array


class OneTaskInNumPy:
    """``act`` and ``observe`` of one task with an agent whose z follows the posterior.

    Args:
        agent: an agent whose ``follows_in_numpy`` holds.
    """

    def __init__(self, agent: PEARLAgent) -> None:
        following = agent.following_in_numpy
        assert following.reader is not None
        self._following, self._reader, self._acting = following, following.reader, agent.acting_in_numpy
        self._latest = LatestNoise()  # Sessions of one agent have different draws.
        # The lookup of a module's attribute takes longer.
        self._encoder, self._actions, self._kept = agent.encoder, agent.actions, agent.kept

    def from_tensors(self, memory: PEARLMemory) -> OneTaskMemory:
        """Return the memory without tensors."""
        with torch.no_grad():
            posterior = self._encoder.posterior(memory.belief)
        belief = tuple(part.numpy() for part in memory.belief)
        mean, stddev = posterior.mean.numpy(), posterior.stddev.numpy()
        return OneTaskMemory(
            belief, type(memory.belief), mean, stddev, memory.z.numpy(), memory.draws, memory.steps.numpy()
        )

    def to_tensors(self, memory: OneTaskMemory) -> PEARLMemory:
        """Return the agent's own memory."""
        belief = memory.kind(*map(torch.from_numpy, memory.belief))
        z, mean, steps = map(torch.from_numpy, (memory.z, memory.mean, memory.steps))
        return PEARLMemory(belief, (), z, mean, memory.draws, steps)

    def act(self, observation: Array, memory: OneTaskMemory, deterministic: bool, rng: torch.Generator) -> Array:
        """Return an action (1, action_dim) for an observation (1, observation_dim)."""
        output = self._acting(observation, memory.mean if deterministic else memory.z)
        return self._actions.choose_in_numpy(output, deterministic, rng)

    def read(self, observation: Array, action: Array, reward: Array, next_observation: Array) -> Array:
        """Return a transition's fields as the encoder reads them, (1, width)."""
        return self._reader(observation, action, reward, next_observation)

    def with_changes(self, fields: Array) -> Array:
        """Return fields as a ``ChangeDetector`` reads them: what changes in the place of what is observed next."""
        return self._reader.with_changes(fields)

    def observe(self, memory: OneTaskMemory, fields: Array) -> OneTaskMemory | None:
        """Return the memory after a transition as ``read`` returns it; None if z would not be finite."""
        steps = memory.steps + 1
        noise = self._following.noise(memory.draws, steps, self._latest)
        found = self._following.step(memory.belief, fields, None, self._kept, noise)
        if found is None:
            return None
        belief, mean, stddev, z = found
        return OneTaskMemory(belief, memory.kind, mean, stddev, z, memory.draws, steps)
