"""Rollouts of an agent that keeps what it was shown."""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from agents import ActionChoice, Transitions
from pearl.collection.rollout import Trajectories, rollout


class Memory(NamedTuple):
    """Counts per task, (task,)."""

    seen: Tensor
    episodes: Tensor
    reward_sum: Tensor


class RecordingAgent:
    """A ``MetaAgent`` that counts what it is shown, and keeps what it was given in each call."""

    def __init__(self, actions: NDArray[np.float32] | None = None) -> None:
        self.actions = actions
        self.acted: list[tuple[Tensor, Memory, Tensor]] = []
        self.observed: list[tuple[Transitions, Tensor]] = []
        self.ended: list[Tensor] = []

    def begin(self, n_tasks: int) -> Memory:
        zeros = torch.zeros(n_tasks, dtype=torch.int64)
        return Memory(zeros, zeros, torch.zeros(n_tasks))

    def act(self, observation: Tensor, memory: Memory, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        self.acted.append((observation.clone(), memory, deterministic.clone()))
        if self.actions is None:
            action = torch.rand(len(observation), 2, generator=rng) * 2 - 1
        else:
            action = torch.from_numpy(self.actions[len(self.acted) - 1])
        return ActionChoice(action, {"seen": memory.seen, "pair": torch.stack([memory.seen, memory.episodes], 1)})

    def observe(self, memory: Memory, transition: Transitions, active: Tensor) -> Memory:
        self.observed.append((transition, active.clone()))
        return memory._replace(
            seen=memory.seen + active, reward_sum=memory.reward_sum + torch.where(active, transition.reward, 0.0)
        )

    def end_episode(self, memory: Memory, ended: Tensor, rng: torch.Generator) -> Memory:
        self.ended.append(ended.clone())
        return memory._replace(episodes=memory.episodes + ended)


def play(
    envs: VectorEnv[Any, Any, Any], *, episodes: int = 2, agent: Any = None, seed: int = 0, **options: Any
) -> tuple[Trajectories, Any]:
    """A rollout of an agent, by default one that records."""
    agent = RecordingAgent() if agent is None else agent
    rng = torch.Generator().manual_seed(seed)
    return rollout(envs, agent, agent.begin(envs.num_envs), episodes=episodes, seed=seed, rng=rng, **options)
