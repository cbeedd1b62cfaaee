"""Evaluation within an episode whose task changes: reward around a change, steps to recover, regret."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from pearl.evaluation.statistics import FloatArray, mean_over_tasks
from pearl.tasks import Drifting, Task, TaskDistribution
from pearl.tasks.arguments import check_tasks, description
from pearl.tasks.transforms.drift import Drift
from pearl.tasks.transforms.drifting import TASK_INDEX

TOLD = "told"
"""Name of the reference: the first session, whose belief returns to the prior at each change"""

ModelT = TypeVar("ModelT")


class AdaptingSession(Protocol):
    """Protocol of an agent that adapts step by step, such as ``model.session()``."""

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """Choose an action of the action space."""

    def observe(
        self,
        observation: Any,
        action: Any,
        reward: float,
        next_observation: Any,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Learn from one transition."""


@dataclass(frozen=True, kw_only=True)
class DriftEvaluation:
    """One agent's rewards in episodes whose task changes, compared with the agent that is told of each change.

    The segment of a task is the part of the episode in which it holds. Change number k begins segment k + 1.
    """

    rewards: FloatArray
    """(task, step); NaN after the end of the episode"""
    segment: NDArray[np.int64]
    """(task, step), index of the segment, from 0; -1 after the end of the episode"""
    switch_steps: tuple[tuple[int, ...], ...]
    """Steps at which the segments begin, one tuple per drifting task, without the first segment's"""
    recovery_steps: FloatArray
    """(task, switch): the first step after a change, from 0, from which on every mean reward over ``window`` steps of
    the segment is at least random + share · (steady - random). ``steady`` is the told agent's mean reward over the last
    ``window`` steps of the segment, ``random`` the random policy's mean reward over all steps. The length of the
    segment if there is no such step, or the episode ends in the segment. NaN if the episode ended before the change,
    the told agent's ended in the segment, or the segment is shorter than ``window``"""
    recovered: NDArray[np.bool_]
    """(task, switch), whether there is such a step"""
    regret: FloatArray
    """(task,), the told agent's return minus this one's"""

    @property
    def returns(self) -> FloatArray:
        """Undiscounted return of each episode, (task,)."""
        returns: FloatArray = np.nansum(self.rewards, axis=1)
        return returns

    @property
    def segment_returns(self) -> FloatArray:
        """Sum of the rewards in each segment, (task, segment); NaN if the episode ended before it."""
        n_segments = max(len(steps) for steps in self.switch_steps) + 1
        inside = self.segment[:, None] == np.arange(n_segments)[:, None]
        sums = np.where(inside, self.rewards[:, None], 0.0).sum(-1)
        returns: FloatArray = np.where(inside.any(-1), sums, np.nan)
        return returns

    def around_switches(self, before: int, after: int) -> FloatArray:
        """Return the rewards around each change, (change, before + after), of all drifting tasks.

        Column ``before`` is the first step of the new task. NaN stands for steps of a segment that is not next to the
        change, and after the end of the episode.
        """
        rows = []
        for rewards, segment, steps in zip(self.rewards, self.segment, self.switch_steps, strict=True):
            padded = np.pad(rewards, (before, after), constant_values=np.nan)
            places = np.pad(segment, (before, after), constant_values=-1)
            for number, step in enumerate(steps):
                window = slice(step, step + before + after)  # The padding shifts it by ``before``.
                near = (places[window] == number) | (places[window] == number + 1)
                rows.append(np.where(near, padded[window], np.nan))
        return np.array(rows).reshape(-1, before + after)

    def curve(self, before: int = 20, after: int = 20) -> FloatArray:
        """Return the mean reward of each step around a change, over changes and tasks, (before + after,)."""
        return mean_over_tasks(self.around_switches(before, after))

    def figures(self) -> dict[str, float]:
        """Return the figures to log, means over tasks or changes; NaN if nothing is known."""
        recovered = np.where(np.isfinite(self.recovery_steps), self.recovered, np.nan)
        return {
            "drift/return": float(self.returns.mean()),
            "drift/regret": float(self.regret.mean()),
            "drift/recovery_steps": float(mean_over_tasks(self.recovery_steps.reshape(-1))),
            "drift/recovered": float(mean_over_tasks(recovered.reshape(-1))),
        }


def evaluate_drift(
    model: ModelT,
    distribution: TaskDistribution,
    tasks: Sequence[Task],
    sessions: Mapping[str, Callable[[ModelT], AdaptingSession]],
    *,
    window: int = 5,
    share: float = 0.9,
    deterministic: bool = False,
    seed: int = 0,
) -> dict[str, DriftEvaluation]:
    """Play one episode of each drifting task in a new session of each kind, from the prior on.

    The reference ``"told"`` is the first kind of session. Before the first step of each new task its ``start_anew`` is
    called; without one, a new ``agent.begin`` replaces its memory. All kinds have the same starts. Give sessions a
    fixed seed, ``{"plain": lambda model: model.session(seed=0)}``: the first kind and the reference then agree until
    the first change. With ``follow=False`` PEARL adapts between episodes only.

    Args:
        model: the argument of the functions in ``sessions``.
        distribution: builds the environments, see ``pearl.drifting``.
        tasks: drifting tasks.
        sessions: functions that start a session, by the name of its kind.
        window: environment steps over which rewards are averaged to see whether an agent has recovered.
        share: share of the way from the random policy's mean reward to the told agent's at which an agent counts as
            recovered, see ``DriftEvaluation.recovery_steps``.
        deterministic: whether sessions act deterministically.
        seed: seed of the environments and the random policy; the i-th task's is ``seed + i``.

    Returns:
        The evaluation of each kind and of ``"told"``, by name.

    Raises:
        TypeError: the distribution's tasks do not drift, or the first kind of session has no ``agent`` and ``memory``.
        ValueError: a number is out of range, there are no sessions or no tasks, or one is called "told".
    """
    _check(distribution, sessions, window, share)
    tasks = check_tasks(tasks, "tasks")
    drifts = [Drift.of(task) for task in tasks]
    first = next(iter(sessions.values()))
    episodes: dict[str, list[_Episode]] = {name: [] for name in (*sessions, TOLD)}
    random: list[_Episode] = []
    for row, task in enumerate(tasks):
        with closing(distribution.make_env(task)) as env:
            random.append(_play(_RandomSession(env, seed + row), env, seed + row))
            for name, make in sessions.items():
                episodes[name].append(_play(make(model), env, seed + row, deterministic=deterministic))
            told = _Told(first(model), seed + row)
            episodes[TOLD].append(
                _play(told, env, seed + row, deterministic=deterministic, on_switch=told.forget),
            )
    level = float(np.mean([reward for episode in random for reward in episode.rewards]))
    aims = [list(_aims(drift, told, level, window, share)) for drift, told in zip(drifts, episodes[TOLD], strict=True)]
    lengths = [len(episode.rewards) for played in episodes.values() for episode in played]
    width = max(*lengths, *(step for drift in drifts for step in drift.switch_steps))
    return {name: _evaluation(drifts, played, episodes[TOLD], aims, window, width) for name, played in episodes.items()}


@dataclass
class _Episode:
    """One episode step by step."""

    rewards: list[float]
    segments: list[int]
    terminated: bool = False


@dataclass(frozen=True)
class _Aim:
    """The steps of a segment, and the mean reward over a window at which an agent counts as recovered there."""

    begin: int
    end: int
    level: float
    """NaN if unknown"""


class _RandomSession:
    """Acts at random."""

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        return self._space.sample()

    def observe(self, *transition: Any) -> None:
        pass


class _Told:
    """A session whose belief can be replaced by the prior."""

    def __init__(self, session: Any, seed: int) -> None:
        if not (hasattr(session, "agent") and hasattr(session, "memory")):
            raise TypeError(
                "Changes replace the memory of the first kind of session, which needs the attributes agent and memory, "
                f"got a {type(session).__name__}. Put lambda model: model.session(seed=0) first."
            )
        self._session = session
        self._rng = torch.Generator().manual_seed(seed)
        self.act, self.observe = session.act, session.observe

    def forget(self) -> None:
        """Replace the belief by the prior."""
        if hasattr(self._session, "start_anew"):
            self._session.start_anew()
            return
        self._session.memory = self._session.agent.begin(1, self._rng)


def _play(
    session: AdaptingSession,
    env: gym.Env[Any, Any],
    seed: int,
    *,
    deterministic: bool = False,
    on_switch: Callable[[], None] | None = None,
) -> _Episode:
    """Play one episode; ``on_switch`` is called before the first action in each new task."""
    episode = _Episode([], [])
    drift: Drift = env.get_wrapper_attr("drift")
    observation, _ = env.reset(seed=seed)
    ended = False
    while not ended:
        if on_switch is not None and len(episode.rewards) in drift.switch_steps:
            on_switch()
        action = session.act(observation, deterministic)
        after, reward, terminated, truncated, info = env.step(action)
        session.observe(observation, action, float(reward), after, bool(terminated), bool(truncated))
        episode.rewards.append(float(reward))
        episode.segments.append(int(info[TASK_INDEX]))
        observation, episode.terminated, ended = after, bool(terminated), bool(terminated or truncated)
    return episode


def _aims(drift: Drift, told: _Episode, random: float, window: int, share: float) -> Iterator[_Aim]:
    """Yield the aim after each change."""
    steps = len(told.rewards)
    for begin, end in pairwise((*drift.switch_steps, max([steps, *drift.switch_steps]))):
        ends_early = steps < end or (steps == end and told.terminated)
        known = not ends_early and end - begin >= window
        steady = float(np.mean(told.rewards[end - window : end])) if known else np.nan
        yield _Aim(begin, end, random + share * (steady - random))


def _evaluation(
    drifts: Sequence[Drift],
    played: Sequence[_Episode],
    told: Sequence[_Episode],
    aims: Sequence[Sequence[_Aim]],
    window: int,
    width: int,
) -> DriftEvaluation:
    """Return one kind's evaluation; its arrays over steps have ``width`` columns."""
    rewards, segment = np.full((len(played), width), np.nan), np.full((len(played), width), -1, np.int64)
    for row, episode in enumerate(played):
        rewards[row, : len(episode.rewards)] = episode.rewards
        segment[row, : len(episode.segments)] = episode.segments
    recovery = np.full((len(played), max(map(len, aims))), np.nan)
    recovered = np.zeros(recovery.shape, np.bool_)
    for row, (episode, of_task) in enumerate(zip(played, aims, strict=True)):
        for number, aim in enumerate(of_task):
            if not np.isnan(aim.level) and len(episode.rewards) > aim.begin:
                recovery[row, number], recovered[row, number] = _recovery(episode.rewards, aim, window)
    returns = [sum(one.rewards) - sum(other.rewards) for one, other in zip(told, played, strict=True)]
    return DriftEvaluation(
        rewards=rewards,
        segment=segment,
        switch_steps=tuple(drift.switch_steps for drift in drifts),
        recovery_steps=recovery,
        recovered=recovered,
        regret=np.array(returns),
    )


def _recovery(rewards: Sequence[float], aim: _Aim, window: int) -> tuple[int, bool]:
    """Return the steps until the mean reward stays at the aim, and whether it does."""
    inside = np.array(rewards[aim.begin : aim.end])
    if len(inside) == aim.end - aim.begin:
        means = np.lib.stride_tricks.sliding_window_view(inside, window).mean(1)
        # The told agent's own last window must count whatever the rounding.
        below = np.flatnonzero(means < aim.level - 1e-9 * max(1.0, abs(aim.level)))
        first = int(below[-1]) + 1 if below.size else 0
        if first < len(means):
            return first, True
    return aim.end - aim.begin, False


def _check(distribution: object, sessions: Mapping[str, Any], window: int, share: float) -> None:
    if not isinstance(distribution, Drifting):
        raise TypeError(
            f"distribution must be one whose tasks drift, got {description(distribution)}. Write "
            "pearl.drifting(distribution, pearl.DriftSchedule(steps=(60, 140)))."
        )
    if not sessions:
        raise ValueError('There must be a kind of session: {"plain": lambda model: model.session(seed=0)}.')
    if TOLD in sessions:
        raise ValueError(f"{TOLD!r} is the name of the reference; give that kind of session another one.")
    if window < 1:
        raise ValueError(f"window must be at least 1 environment step, got {window}.")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}.")
