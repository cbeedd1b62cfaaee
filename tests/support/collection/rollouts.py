"""Rollouts of an agent that keeps what it was shown."""

from typing import NamedTuple

import torch
from torch import Tensor

from agents import ActionChoice
from pearl.collection.rollout import rollout


class Memory(NamedTuple):
    """Counts per task, (task,)."""

    seen: Tensor
    episodes: Tensor
    reward_sum: Tensor


class RecordingAgent:
    """A ``MetaAgent`` that counts what it is shown, and keeps what it was given in each call."""

    def __init__(self, actions=None):
        self.actions = actions
        self.acted, self.observed, self.ended = [], [], []

    def begin(self, n_tasks):
        zeros = torch.zeros(n_tasks, dtype=torch.int64)
        return Memory(zeros, zeros, torch.zeros(n_tasks))

    def act(self, observation, memory, deterministic, rng):
        self.acted.append((observation.clone(), memory, deterministic.clone()))
        if self.actions is None:
            action = torch.rand(len(observation), 2, generator=rng) * 2 - 1
        else:
            action = torch.from_numpy(self.actions[len(self.acted) - 1])
        return ActionChoice(action, {"seen": memory.seen, "pair": torch.stack([memory.seen, memory.episodes], 1)})

    def observe(self, memory, transition, active):
        self.observed.append((transition, active.clone()))
        return memory._replace(
            seen=memory.seen + active, reward_sum=memory.reward_sum + torch.where(active, transition.reward, 0.0)
        )

    def end_episode(self, memory, ended, rng):
        self.ended.append(ended.clone())
        return memory._replace(episodes=memory.episodes + ended)


def play(envs, *, episodes=2, agent=None, seed=0, **options):
    agent = RecordingAgent() if agent is None else agent
    rng = torch.Generator().manual_seed(seed)
    return rollout(envs, agent, agent.begin(envs.num_envs), episodes=episodes, seed=seed, rng=rng, **options)
