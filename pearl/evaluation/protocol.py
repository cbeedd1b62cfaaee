"""The few-shot evaluation protocol: the return of each episode of a trial on held-out tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents import MetaAgent, PEARLAgent
from pearl.collection.references import OracleAgent, RandomAgent
from pearl.collection.rollout import Trajectories, observed, rollout
from pearl.collection.workers import make_envs
from pearl.evaluation.statistics import CVAR_TASKS, cvar, mean_interval
from pearl.tasks import Task, TaskDistribution

REFERENCE_EPISODES = 50
"""Number of episodes per task that measure each end of the score"""
RANDOM_EPISODES = 5
"""Number of episodes per task that measure the random policy for figures, if the family has no oracle"""


@dataclass(frozen=True, kw_only=True)
class References:
    """Mean episode returns that define the score: 0 for the random policy, 1 for the policy that knows the task."""

    random: float
    oracle: float | None
    """None if the family has no such policy; scores are None then"""
    random_by_task: tuple[float, ...] = ()
    """The random policy's return on each task, if measured"""
    oracle_by_task: tuple[float, ...] = ()
    """The oracle's return on each task, if measured and if the family has one"""

    def lines(self) -> dict[str, float]:
        """Return the known references by their names in pictures and tables."""
        lines = {"random policy": self.random}
        return lines if self.oracle is None else lines | {"task known": self.oracle}

    def score(self, returns: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return (return - random) / (oracle - random), elementwise."""
        if self.oracle is None:
            return None
        scores: NDArray[np.float64] = (returns - self.random) / (self.oracle - self.random)
        return scores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Outcome of the few-shot protocol."""

    returns: NDArray[np.float64]
    """Undiscounted true return, (task, episode)"""
    trajectories: Trajectories
    """Every task's whole trial"""
    memory: Any
    """The agent's memory after the trial, one row per task"""
    references: References
    exploration_episodes: int
    distinct_tasks: int
    """Number of different tasks; fewer than rows of ``returns`` if a task is played several times"""
    same_tasks: bool = False
    """Whether the tasks are the training tasks"""
    following: NDArray[np.float64] | None = None
    """Return of the first episode if z follows the posterior, as in sessions, (task,); None for agents without z, or
    whose z moves within an episode anyway"""
    kept: NDArray[np.float64] | None = None
    """Return of the first episode if z is kept, as in the paper, (task,); None for agents without z, or whose z is kept
    anyway"""

    @property
    def tasks_label(self) -> str:
        """The number of tasks, and whether they are held out."""
        n = len(self.returns)
        return f"{n} tasks, the same as in training" if self.same_tasks else f"{n} held-out tasks"

    @property
    def return_per_episode(self) -> NDArray[np.float64]:
        """Mean over tasks, (episode,)."""
        means: NDArray[np.float64] = self.returns.mean(0)
        return means

    @property
    def cvar_per_episode(self) -> NDArray[np.float64] | None:
        """Mean return of the worst 5 % of tasks (CVaR), (episode,); None if there are fewer than 20 different tasks.

        The worst tasks are those of each episode by itself.
        """
        return None if self.distinct_tasks < CVAR_TASKS else cvar(self.returns[None])

    @property
    def success_per_episode(self) -> NDArray[np.float64] | None:
        """Share of tasks that succeeded, (episode,); None if the environments do not report success."""
        successes = self.trajectories.episode_successes(self.returns.shape[1])
        if successes is None:
            return None
        rates: NDArray[np.float64] = successes.mean(0)
        return rates

    @property
    def score(self) -> float | None:
        """Normalised score of the last episode, mean over tasks."""
        scores = self.references.score(self.returns[:, -1])
        return None if scores is None else float(scores.mean())

    @property
    def score_ci95(self) -> tuple[float, float] | None:
        """95 % bootstrap interval over tasks of the last episode's normalised score."""
        scores = self.references.score(self.returns[:, -1])
        if scores is None:
            return None
        low, high = mean_interval(scores)
        return float(low), float(high)

    def line(self) -> str:
        """Return the return of each episode in words: the mean over tasks, and over the worst 5 % if it is known."""
        text = "return by episode " + ", ".join(f"{mean:.4g}" for mean in self.return_per_episode)
        if self.cvar_per_episode is not None:
            text += "; worst 5 % of tasks " + ", ".join(f"{mean:.4g}" for mean in self.cvar_per_episode)
        return text

    def figures(self) -> dict[str, float]:
        """Return the figures to log: means over tasks, for each episode by its number from 1.

        ``test/score`` and ``test/cvar``, the mean return of the worst 5 % of tasks, are of the last episode, and
        ``test/following`` is of the first one if z follows the posterior, ``test/kept`` if it is kept where it follows.
        """
        values = {f"test/return_ep{n}": float(mean) for n, mean in enumerate(self.return_per_episode, start=1)}
        if self.following is not None:
            values["test/following"] = float(self.following.mean())
        if self.kept is not None:
            values["test/kept"] = float(self.kept.mean())
        if self.cvar_per_episode is not None:
            values["test/cvar"] = float(self.cvar_per_episode[-1])
        ends = self.score_ci95
        if self.score is not None and ends is not None:
            values["test/score"] = self.score
            values["test/score_low"], values["test/score_high"] = ends
        if self.success_per_episode is not None:
            values |= {f"test/success_ep{n}": float(rate) for n, rate in enumerate(self.success_per_episode, 1)}
        return values


def evaluate(
    agent: MetaAgent[Any],
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    *,
    episodes: int,
    exploration_episodes: int,
    seed: int,
    references: References | None = None,
    workers: int = 0,
    worker_timeout_s: float | None = None,
) -> Evaluation:
    """Play one trial of each task with a fresh memory, and report the return of episode 1 to ``episodes``.

    In the first ``exploration_episodes`` the agent samples z and actions; afterwards it acts deterministically. If z
    stays within an episode, the first episode is played once more with z that follows the posterior. The agent's
    weights do not change. The same seed gives the same environment starts and the same draws.

    Args:
        agent: any meta-learner.
        distribution: builds the tasks' environments.
        tasks: the tasks; for a held-out evaluation, none may be a training task.
        episodes: episodes per trial.
        exploration_episodes: episodes before the agent acts deterministically.
        seed: seed of every draw.
        references: ends of the normalised score; measured if None.
        workers: number of processes that step the environments; 0 steps them in this process.
        worker_timeout_s: seconds after which a worker counts as hanging; None for no limit.
    """
    if references is None:
        references = measure_references(
            distribution, tasks, seed=seed, workers=workers, worker_timeout_s=worker_timeout_s
        )
    envs = make_envs(distribution, tasks, workers, worker_timeout_s)

    def play(acting: MetaAgent[Any], episodes: int) -> tuple[Trajectories, Any]:
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return rollout(
                envs,
                acting,
                acting.begin(len(tasks), rng),
                episodes=episodes,
                seed=seed,
                rng=rng,
                deterministic_from=exploration_episodes,
                labels=tasks,
            )

    trajectories, memory = play(agent, episodes)
    following = kept = None
    if isinstance(agent, PEARLAgent) and agent.encoder.infers:
        other = play(agent.keeping() if agent.z_moves else agent.following(), 1)[0].episode_returns(1)[:, 0]
        following, kept = (None, other) if agent.z_moves else (other, None)
    envs.close()
    return Evaluation(
        returns=trajectories.episode_returns(episodes),
        trajectories=trajectories,
        memory=memory,
        references=references,
        exploration_episodes=exploration_episodes,
        distinct_tasks=len(set(tasks)),
        same_tasks=distribution.same_tasks,
        following=following,
        kept=kept,
    )


def measure_references(
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    *,
    seed: int,
    workers: int = 0,
    worker_timeout_s: float | None = None,
) -> References:
    """Measure the mean returns of the random policy and, if the family has one, the oracle."""
    envs = make_envs(distribution, tasks, workers, worker_timeout_s)
    space = envs.single_action_space
    observation, _ = envs.reset(seed=seed)
    rows = observed(envs.single_observation_space, observation, 0, tasks)
    known = distribution.oracle_action(tasks, rows) is not None
    episodes = REFERENCE_EPISODES if known else min(RANDOM_EPISODES, REFERENCE_EPISODES)
    agents: list[MetaAgent[None]] = [RandomAgent(space)]
    if known:
        agents.append(OracleAgent(distribution, tasks))
    by_task = []
    for agent in agents:
        rng = torch.Generator().manual_seed(seed)
        trajectories, _ = rollout(envs, agent, None, episodes=episodes, seed=seed, rng=rng, labels=tasks)
        by_task.append(trajectories.episode_returns(episodes).mean(1))
    envs.close()
    means = [float(of_one.mean()) for of_one in by_task]
    return References(
        random=means[0],
        oracle=means[1] if known else None,
        random_by_task=tuple(by_task[0].tolist()),
        oracle_by_task=tuple(by_task[1].tolist()) if known else (),
    )


def check_disjoint(train: Sequence[Task], test: Sequence[Task]) -> None:
    """Check that no test task is a training task.

    Raises:
        ValueError: some test tasks are training tasks; the message names the first.
    """
    shared = [task for task in test if task in set(train)]
    if shared:
        raise ValueError(
            f"{len(shared)} of {len(test)} test tasks are training tasks too, for example {shared[0]}. "
            "A held-out evaluation needs tasks that training never saw: draw from a larger family, or fewer of each. "
            "Where there are only a few tasks, set same_tasks = True in the TaskDistribution."
        )
