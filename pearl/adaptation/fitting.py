"""Learning to detect changes of the task and unfamiliar tasks, after meta-training."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn
from torch.distributions import Normal

from agents import PEARLAgent
from agents.context.changes import ChangeDetector, Pairs, detector_inputs, encoded
from agents.memories import shifted
from encoders import Context
from pearl.adaptation.familiarity import Familiarity, counts_up_to
from pearl.collection.rollout import Trajectories, rollout
from pearl.collection.workers import make_envs
from pearl.tasks import Task, TaskDistribution

FOREIGN_EPISODES = 3
"""Episodes that each task is played with beliefs of other tasks"""
OWN_EPISODES = 2
STEPS = 40_000
"""Environment steps from which a detector learns, or as many as the fewest trials take"""
FEWEST_TRIALS, MOST_TASKS = 30, 200
POSTERIORS = 64
"""Posteriors of each task, after contexts of different lengths"""
GRADIENT_STEPS = 2_000
TASKS_PER_STEP, TRANSITIONS_PER_TASK = 16, 64
STEP_SIZE = 1e-3


def fit_detectors(
    agent: PEARLAgent,
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    *,
    horizon: int,
    seed: int,
    workers: int = 0,
    worker_timeout_s: float | None = None,
) -> tuple[ChangeDetector, Familiarity]:
    """Let an agent play tasks, with their own beliefs and with other tasks', and learn to tell these apart.

    The beliefs of the trials with their own beliefs are what new tasks are compared with.

    Args:
        agent: the meta-trained agent; it does not change.
        distribution: builds the tasks' environments.
        tasks: training tasks, two or more.
        horizon: steps of an episode.
        seed: seed of every draw.
        workers: number of processes that step the environments; 0 steps them in this process.
        worker_timeout_s: seconds after which a worker counts as hanging; None for no limit.

    Raises:
        ValueError: there are fewer than two tasks.
    """
    if len(tasks) < 2:
        raise ValueError("A change of the task can be learnt from two training tasks or more, there is 1.")
    rng = torch.Generator().manual_seed(seed)
    per_task = horizon * (OWN_EPISODES + FOREIGN_EPISODES)
    n_tasks = min(len(tasks), MOST_TASKS, max(FEWEST_TRIALS, STEPS // per_task))
    trials = math.ceil(FEWEST_TRIALS / n_tasks)  # of each task; neighbours are different tasks
    tasks = trials * [tasks[row] for row in torch.randperm(len(tasks), generator=rng)[:n_tasks].tolist()]
    envs = make_envs(distribution, tasks, workers, worker_timeout_s)
    try:
        played = _play(agent, envs, tasks, seed, rng)
    finally:
        envs.close()
    of_task = [range(task, len(tasks), n_tasks) for task in range(n_tasks)]
    transitions = [encoded(agent, _of_task(played, rows)) for rows in of_task]
    starts = [_starts(played, rows) for rows in of_task]
    detector = ChangeDetector(agent, rng)
    inputs = [detector_inputs(agent, each)[0] for each in transitions]
    detector.moments.see(torch.cat(inputs))
    _learn(detector, inputs, _posteriors(agent, transitions, starts, rng), rng)
    # Where new tasks are those of training, another trial of the same task is what a new one is compared with.
    task = torch.arange(len(tasks)) if distribution.same_tasks else torch.arange(len(tasks)) % n_tasks
    return detector.requires_grad_(False), _familiarity(agent, played[0], task)


def _play(agent: PEARLAgent, envs: Any, tasks: Sequence[Task], seed: int, rng: torch.Generator) -> list[Trajectories]:
    """Play each task with a belief of its own, then with those of other tasks, which its transitions then change."""
    follower = agent.following(1.0)
    own, memory = rollout(
        envs,
        follower,
        follower.begin(envs.num_envs, rng),
        episodes=OWN_EPISODES,
        seed=seed,
        rng=rng,
        deterministic_from=1,
        labels=tasks,
    )
    played, memory = [own], agent.fold(memory)
    for episode in range(FOREIGN_EPISODES):
        memory = shifted(memory)
        deterministic_from = episode % 2
        foreign, _ = rollout(
            envs,
            agent,
            agent.end_episode(memory, torch.ones(envs.num_envs, dtype=torch.bool), rng),
            episodes=1,
            seed=seed + 1 + episode,
            rng=rng,
            deterministic_from=deterministic_from,
            labels=tasks,
        )
        played.append(foreign)
    return played


@torch.no_grad()
def _familiarity(agent: PEARLAgent, own: Trajectories, task: torch.Tensor) -> Familiarity:
    """Return the beliefs along trials of the tasks numbered ``task``; a trial that is over keeps its last one."""
    counts = counts_up_to(own.mask.shape[1])
    belief = agent.encoder.prior(len(own.mask))
    posteriors = [agent.encoder.posterior(belief)]
    fields = (own.observation, own.action, own.reward, own.next_observation, own.mask)
    for first, last in pairwise(counts.tolist()):
        belief = agent.infer(Context(*(torch.from_numpy(field[:, first:last]) for field in fields)), belief)
        posteriors.append(agent.encoder.posterior(belief))
    mean, stddev = (torch.stack([getattr(one, name) for one in posteriors]) for name in ("mean", "stddev"))
    return Familiarity(counts, mean, stddev, task)


def _of_task(played: Sequence[Trajectories], rows: range) -> Context:
    """Return all transitions of one task, trial after trial, (1, step, …)."""
    fields = ("observation", "action", "reward", "next_observation")
    parts = [(each, row) for row in rows for each in played]
    joined = [
        torch.cat([torch.from_numpy(getattr(each, field)[row][each.mask[row]]) for each, row in parts])[None]
        for field in fields
    ]
    observation, action, reward, following = joined
    return Context(observation, action, reward, following, torch.ones(reward.shape, dtype=torch.bool))


def _starts(played: Sequence[Trajectories], rows: range) -> list[int]:
    """Return the steps at which the task's trials begin in ``_of_task``."""
    lengths = [sum(int(each.mask[row].sum()) for each in played) for row in rows]
    return [0, *accumulate(lengths[:-1])]


@torch.no_grad()
def _posteriors(
    agent: PEARLAgent, transitions: Sequence[Context], starts: Sequence[Sequence[int]], rng: torch.Generator
) -> Normal:
    """Return posteriors after parts of trials, log-uniformly long: (task, posterior, latent_dim).

    Half of the parts begin with a trial, because many beliefs are wrong there; the others begin anywhere.
    """
    longest = min(agent.encoder.evidence_limit, max(each.mask.shape[1] for each in transitions))
    found: list[Normal] = []
    for number in range(POSTERIORS):
        steps = int(longest ** float(torch.rand((), generator=rng)))
        parts = []
        for each, begins in zip(transitions, starts, strict=True):
            last = max(0, each.mask.shape[1] - steps)
            first = int(torch.randint(last + 1, (), generator=rng))
            if number % 2:
                first = min(last, begins[int(torch.randint(len(begins), (), generator=rng))])
            parts.append(Context(*(field[:, first : first + steps] for field in each)))
        context = _padded(parts, steps)
        found.append(agent.encoder.posterior(agent.encoder.encode(context)))
    mean, stddev = (torch.stack(each, dim=1) for each in zip(*((one.mean, one.stddev) for one in found), strict=True))
    return Normal(mean, stddev, validate_args=False)


def _padded(parts: Sequence[Context], steps: int) -> Context:
    """Join contexts of one task each, of up to ``steps`` steps, into one with a row per task."""
    rows = [
        [nn.functional.pad(field, [0, 0] * (field.dim() - 2) + [0, steps - field.shape[1]]) for field in part]
        for part in parts
    ]
    return Context(*(torch.cat(field) for field in zip(*rows, strict=True)))


def _learn(detector: ChangeDetector, inputs: Sequence[torch.Tensor], posteriors: Normal, rng: torch.Generator) -> None:
    """Fit the detector to ``inputs`` of each task, (transition, width) each, and posteriors (task, posterior, dim)."""
    optimizer = torch.optim.Adam(detector.network.parameters(), lr=STEP_SIZE)
    n_tasks, size = min(len(inputs), TASKS_PER_STEP), (TRANSITIONS_PER_TASK,)
    for step in range(GRADIENT_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = STEP_SIZE * min(1.0, 2.0 * (1.0 - step / GRADIENT_STEPS))
        rows = torch.randperm(len(inputs), generator=rng)[:n_tasks]
        chosen = [inputs[row][torch.randint(len(inputs[row]), size, generator=rng)] for row in rows.tolist()]
        which = torch.randint(POSTERIORS, (n_tasks, *size), generator=rng)
        mean, stddev = posteriors.mean[rows[:, None], which], posteriors.stddev[rows[:, None], which]
        loss = detector.loss(Pairs(torch.stack(chosen), Normal(mean, stddev, validate_args=False)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
