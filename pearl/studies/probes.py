"""Probes of a trained agent: its use of z, inference from random actions, calibration of the posterior."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents import ActionChoice, MetaAgent, PEARLAgent, PEARLMemory, Transitions
from pearl.collection.references import RandomAgent
from pearl.model.meta_learner import PEARL
from pearl.runs.report import posterior_path


class WrappedAgent:
    """Base class of the probes: a PEARL agent with changed acting and unchanged inference.

    Args:
        agent: the agent.
    """

    def __init__(self, agent: PEARLAgent) -> None:
        self.agent = agent

    def begin(self, n_tasks: int, rng: torch.Generator) -> PEARLMemory:
        """Begin as the agent does."""
        return self.agent.begin(n_tasks, rng)

    def observe(self, memory: PEARLMemory, transition: Transitions, active: Tensor) -> PEARLMemory:
        """Observe as the agent does."""
        return self.agent.observe(memory, transition, active)

    def end_episode(self, memory: PEARLMemory, ended: Tensor, rng: torch.Generator) -> PEARLMemory:
        """End the episode as the agent does."""
        return self.agent.end_episode(memory, ended, rng)


class OtherZ(WrappedAgent):
    """Acts on a changed z instead of the inferred one.

    Args:
        agent: the agent.
        change: maps the tasks' z, (task, latent_dim), to the z for acting.
    """

    def __init__(self, agent: PEARLAgent, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(agent)
        self.change = change

    def act(
        self, observation: Tensor, memory: PEARLMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act as the agent would on the changed z."""
        changed = memory._replace(z=self.change(memory.z), z_mean=self.change(memory.z_mean))
        return self.agent.act(observation, changed, deterministic, rng)


class RandomExplorer(WrappedAgent):
    """Explores by uniform random actions; acts as the agent in deterministic episodes.

    Args:
        agent: the agent.
        model: the model with the action space.
    """

    def __init__(self, agent: PEARLAgent, model: PEARL) -> None:
        super().__init__(agent)
        self._random = RandomAgent(model.action_space)

    def act(
        self, observation: Tensor, memory: PEARLMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act at random in exploration episodes, and as the agent afterwards."""
        random = self._random.act(observation, None, deterministic, rng).action
        own = self.agent.act(observation, memory, deterministic, rng).action
        return ActionChoice(torch.where(deterministic.unsqueeze(-1), own, random))


def probe(model: PEARL) -> dict[str, float]:
    """Return the last episode's score on the held-out tasks under the usual protocol and under each probe.

    ``usual``; ``zero_z`` and ``other_tasks_z`` (each task is played with the next task's z); ``random_context`` (one
    episode of a random policy instead of the agent's own exploration). They are returns for a family
    without an oracle.
    """
    own = model.config.evaluation
    agents: dict[str, tuple[MetaAgent[PEARLMemory], int]] = {
        "usual": (model.agent, own.exploration_episodes),
        "zero_z": (OtherZ(model.agent, torch.zeros_like), own.exploration_episodes),
        "other_tasks_z": (OtherZ(model.agent, lambda z: z.roll(1, 0)), own.exploration_episodes),
        "random_context": (RandomExplorer(model.agent, model), 1),
    }
    found = {}
    for name, (agent, exploring) in agents.items():
        evaluation = model.evaluate(agent=agent, episodes=exploring + 1, exploration_episodes=exploring)
        last = float(evaluation.returns[:, -1].mean())
        found[name] = last if evaluation.score is None else evaluation.score
    return found


def calibration(model: PEARL, transitions_seen: Sequence[int]) -> NDArray[np.float64]:
    """Return the posterior mean's later movement after ``transitions_seen``, relative to its predicted movement.

    For a calibrated posterior q_n, the difference between its mean and that of a later q_N has the variance
    ``stddev_n^2 - stddev_N^2``. The root mean square in these units is then 1; a posterior above 1 is overconfident.

    Args:
        model: the trained model, evaluated on its held-out tasks.
        transitions_seen: numbers of transitions n, each below the number N in a test trial.

    Returns:
        One figure per n, over tasks and latent dimensions.
    """
    trial = model.evaluate().trajectories
    path = posterior_path(model.agent, trial, [*transitions_seen, int(trial.mask.sum(1).min())])
    moved = (path.mean[:, :-1] - path.mean[:, -1:]).astype(np.float64)
    announced = np.square(path.stddev[:, :-1].astype(np.float64)) - np.square(path.stddev[:, -1:].astype(np.float64))
    figures: NDArray[np.float64] = np.sqrt(np.square(moved).mean((0, 2)) / announced.clip(1e-12).mean((0, 2)))
    return figures
