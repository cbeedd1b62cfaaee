"""Rare rewards: a random policy hardly meets any, so that goals have to be searched for."""

from collections.abc import Sequence

import numpy as np
import torch

from pearl.collection.references import RandomAgent
from pearl.collection.rollout import Trajectories, rollout
from pearl.collection.workers import make_envs
from pearl.tasks import Task, TaskDistribution
from pearl.tasks.check.relabelling import computes_rewards
from pearl.tasks.distribution import relabels

RARE = 0.05
"""Share of a random policy's rewards that differ from the commonest one, under which rewards are rare"""
TASKS = 10
"""Most tasks that a random policy plays to find out, an episode each"""


def share_that_differs(random: Trajectories) -> float:
    """Return the share of a random policy's rewards, as the encoder reads them, that differ from the commonest one."""
    rewards = random.reward[random.mask]
    return float(np.mean(rewards != np.median(rewards)))


def are_rare(random: Trajectories) -> bool:
    """Return whether a random policy hardly meets rewards; where episodes terminate, their length tells as much."""
    return share_that_differs(random) < RARE and not random.terminated[random.mask].any()


def rare_and_computable(
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    *,
    seed: int,
    workers: int = 0,
    worker_timeout_s: float | None = None,
) -> bool:
    """Play an episode of a random policy in each of ten tasks: return whether rewards are rare and can be computed.

    Args:
        distribution: builds the tasks' environments.
        tasks: the first ten are played.
        seed: seed of every draw.
        workers: number of processes that step the environments; 0 steps them in this process.
        worker_timeout_s: seconds after which a worker counts as hanging; None for no limit.

    Raises:
        NonFiniteError: an environment returned a NaN or infinite value.
        TaskDistributionError: rewards are rare, and ``relabel`` computes others than the environments'.
    """
    if not relabels(distribution):
        return False
    played = tasks[:TASKS]
    envs = make_envs(distribution, played, workers, worker_timeout_s)
    try:
        agent, rng = RandomAgent(envs.single_action_space), torch.Generator().manual_seed(seed)
        found, _ = rollout(envs, agent, None, episodes=1, seed=seed, rng=rng, labels=played)
    finally:
        envs.close()
    return are_rare(found) and all(_computes(distribution, task, found, row) for row, task in enumerate(played))


def _computes(distribution: TaskDistribution, task: Task, found: Trajectories, row: int) -> bool:
    steps = found.mask[row]
    fields = (found.observation, found.action, found.next_observation, found.reward, found.training_reward)
    return computes_rewards(distribution, task, *[field[row, steps] for field in fields])
