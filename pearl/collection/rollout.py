"""Rollouts: the single code path for acting in collection, evaluation and deployment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from agents import ActionChoice, MemoryT, MetaAgent, Transitions
from agents.finite import ACTION_REMEDY, FLOAT32_MAX, NonFiniteError, is_finite
from agents.spaces import env_actions, observation_rows
from pearl.tasks.infos import TRAINING_REWARD, by_task, labelled, read_numbers, read_success

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class Trajectories(NamedTuple):
    """Whole trials of several tasks, padded to the longest; ``mask`` is False for padding."""

    observation: NDArray[Any]
    """(task, step, observation_dim), float32; uint8 for images"""
    action: FloatArray
    """(task, step, action_dim), in the space's units"""
    reward: FloatArray
    """(task, step), the true reward"""
    training_reward: FloatArray
    """(task, step), the critic's reward: ``info["training_reward"]`` if the environment gives one, else ``reward``"""
    next_observation: NDArray[Any]
    """(task, step, observation_dim)"""
    terminated: BoolArray
    """(task, step)"""
    truncated: BoolArray
    """(task, step)"""
    episode: NDArray[np.int64]
    """(task, step), the episode's number within the trial, from 0"""
    mask: BoolArray
    """(task, step)"""
    extras: dict[str, NDArray[Any]]
    """Additional outputs of the agent with each action, such as log-probabilities, each (task, step, …)"""
    success: BoolArray | None = None
    """(task, step), ``info["success"]`` or ``info["is_success"]``; None if no environment gave either"""

    @property
    def n_transitions(self) -> int:
        """Environment steps taken, over all tasks."""
        return int(self.mask.sum())

    def episode_successes(self, episodes: int) -> BoolArray | None:
        """Return whether each task's episodes succeeded at any step, (task, episode); None if success is unknown."""
        if self.success is None:
            return None
        succeeded = np.zeros((len(self.mask), episodes), np.bool_)
        tasks, steps = np.nonzero(self.mask & self.success)
        succeeded[tasks, self.episode[tasks, steps]] = True
        return succeeded

    def episode_returns(self, episodes: int) -> NDArray[np.float64]:
        """Return the undiscounted true return of each task's episodes, (task, episode)."""
        returns = np.zeros((len(self.mask), episodes))
        tasks, steps = np.nonzero(self.mask)
        np.add.at(returns, (tasks, self.episode[tasks, steps]), self.reward[tasks, steps].astype(np.float64))
        return returns


@dataclass
class StepEvent:
    """The argument of a step callback."""

    n_active: int
    """Number of environment steps that this step counts for"""
    rewards: NDArray[np.float64]
    """(task,)"""
    dones: BoolArray
    """(task,), whether an episode ended here by termination or time limit"""
    active: BoolArray
    """(task,), whether the task still plays; a task whose trial is over idles"""
    terminated: BoolArray
    """(task,)"""
    vector_infos: dict[str, Any]
    """The vector environment's info"""

    @property
    def truncated(self) -> BoolArray:
        """(task,), whether an episode was truncated here without termination."""
        return self.dones & ~self.terminated

    @cached_property
    def infos(self) -> list[dict[str, Any]]:
        """The info of each task, (task,), empty for a task that idles."""
        # Computed on demand: it takes a third of the time of a point robot's step.
        return by_task(self.vector_infos, self.active)


def rollout(
    envs: VectorEnv[Any, Any, Any],
    agent: MetaAgent[MemoryT],
    memory: MemoryT,
    *,
    episodes: int,
    seed: int,
    rng: torch.Generator,
    deterministic_from: int | None = None,
    on_step: Callable[[StepEvent], bool] | None = None,
    labels: Sequence[object] | None = None,
) -> tuple[Trajectories, MemoryT]:
    """Play ``episodes`` episodes of every task, all tasks stepped together, each with its own episode boundaries.

    Args:
        envs: one environment per task, in ``AutoresetMode.DISABLED``.
        agent: chooses actions and updates its memory.
        memory: the agent's memory at the start, one row per task.
        episodes: episodes per task; a finished task idles, uncounted, while others continue.
        seed: seed of the environments' first reset.
        rng: the source of the agent's draws.
        deterministic_from: first episode in which the agent acts deterministically; None for no such episode.
        on_step: called after each step; the rollout ends if it returns False.
        labels: names of the tasks for error messages; their indices if None.

    Returns:
        The trajectories and the agent's memory after them.

    Raises:
        NonFiniteError: an observation, reward or action is NaN or infinite; the message names the task, the step and
            the value. Or an agent's memory of a task would become so.
        EnvError: an environment failed, or an info value is not a number; the message names the task and the key.
    """
    deterministic_from = episodes if deterministic_from is None else deterministic_from
    space = envs.single_observation_space
    record = _Record(envs.num_envs)
    # Copied: an environment may reuse the returned array for the next observation.
    observation = torch.from_numpy(observed(space, envs.reset(seed=seed)[0], 0, labels))
    episode = np.zeros(envs.num_envs, np.int64)
    begins = True
    while True:
        if begins:
            active, deterministic = episode < episodes, torch.from_numpy(episode >= deterministic_from)
            n_active = int(active.sum())
        choice = agent.act(observation, memory, deterministic, rng)
        step = _take_step(envs, observation, choice, record.n_steps + 1, labels)
        record.add(step, episode, active, choice)
        ended = step.terminated | step.truncated
        begins, dones = bool(ended.any()), ended & active
        # Also if only idle tasks' episodes end: agents may draw for all tasks.
        ends = dones if begins else None
        memory = _remember(agent, memory, step.transition, active, ends, rng, record.n_steps, labels)
        observation = step.transition.next_observation
        if begins:
            episode = episode + dones
        going_on = on_step is None or on_step(
            StepEvent(n_active, step.rewards, dones, active, step.terminated, step.infos)
        )
        if not going_on or (begins and (episode >= episodes).all()):
            return record.trajectories(), memory
        if begins:
            after_reset = envs.reset(options={"reset_mask": ended})[0]
            observation = torch.from_numpy(observed(space, after_reset, record.n_steps, labels))


class _Step(NamedTuple):
    """A step of all tasks together."""

    transition: Transitions
    """The agent's view of the step, each (task, …)"""
    training_reward: FloatArray
    """(task,)"""
    rewards: NDArray[np.float64]
    """(task,), as the environments returned them"""
    terminated: BoolArray
    """(task,)"""
    truncated: BoolArray
    """(task,)"""
    success: BoolArray | None
    """(task,); None if no environment reports success"""
    infos: dict[str, Any]
    """The vector environment's info"""


class _Record:
    """The steps of a trial, until it ends."""

    def __init__(self, n_tasks: int) -> None:
        self._steps: list[dict[str, NDArray[Any]]] = []
        self._extras: list[dict[str, NDArray[Any]]] = []
        self._no_success = np.zeros(n_tasks, np.bool_)
        self._tells_success = False

    @property
    def n_steps(self) -> int:
        """Number of vector environment steps so far."""
        return len(self._steps)

    def add(self, step: _Step, episode: NDArray[np.int64], active: BoolArray, choice: ActionChoice) -> None:
        """Record a step of the episodes ``episode`` (task,), with the action's extras; only ``active`` tasks count."""
        transition = step.transition
        self._steps.append(
            {
                "observation": transition.observation.numpy(),
                "action": transition.action.numpy(),
                "reward": transition.reward.numpy(),
                "training_reward": step.training_reward,
                "next_observation": transition.next_observation.numpy(),
                "terminated": step.terminated,
                "truncated": step.truncated,
                "episode": episode,
                "mask": active,
                "success": self._no_success if step.success is None else step.success,
            }
        )
        self._extras.append({name: value.numpy(force=True) for name, value in choice.extras.items()})
        self._tells_success = self._tells_success or step.success is not None

    def trajectories(self) -> Trajectories:
        """Return all steps, (task, step, …)."""
        fields: dict[str, Any] = _stacked(self._steps)
        if not self._tells_success:
            fields["success"] = None
        return Trajectories(**fields, extras=_stacked(self._extras))


def _stacked(steps: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def _take_step(
    envs: VectorEnv[Any, Any, Any],
    observation: Tensor,
    choice: ActionChoice,
    number: int,
    labels: Sequence[object] | None,
) -> _Step:
    """Step all environments and check their results; ``number`` is the step's index in the trial, from 1."""
    action = choice.action.numpy(force=True)
    if not is_finite(action):
        raise NonFiniteError(_action_message(action, number, labels))
    actions = env_actions(envs.single_action_space, action)
    next_observation, rewards, terminated, truncated, infos = envs.step(actions)
    reward = _float32(rewards)
    success = read_success(infos, envs.num_envs, labels) if infos else None
    training_reward = _training_reward(infos, reward, labels)
    transition = Transitions(
        observation=observation,
        action=torch.from_numpy(action),
        reward=torch.from_numpy(reward),
        next_observation=torch.from_numpy(observed(envs.single_observation_space, next_observation, number, labels)),
        terminated=torch.from_numpy(terminated.astype(np.float32)),
    )
    _check_finite("reward", reward, number, labels)
    if training_reward is not reward:
        _check_finite("training_reward", training_reward, number, labels)
    return _Step(transition, training_reward, rewards, terminated, truncated, success, infos)


def _remember(
    agent: MetaAgent[MemoryT],
    memory: MemoryT,
    transition: Transitions,
    active: BoolArray,
    ends: BoolArray | None,
    rng: torch.Generator,
    number: int,
    labels: Sequence[object] | None,
) -> MemoryT:
    """Return the memory after a transition of each active task, and after the ends (task,) of episodes, if any."""
    try:
        memory = agent.observe(memory, transition, torch.from_numpy(active))
        return memory if ends is None else agent.end_episode(memory, torch.from_numpy(ends), rng)
    except NonFiniteError as error:
        tasks = "; ".join(labelled(row, labels) for row in error.tasks)
        raise NonFiniteError(f"At step {number} of the trial of {tasks}: {error}") from error


def observed(space: gym.Space[Any], observations: Any, step: int, labels: Sequence[object] | None) -> NDArray[Any]:
    """Return a copy of a vector environment's observations as rows, (task, observation_dim).

    Args:
        space: the space of one observation.
        observations: the observations that the environment returned.
        step: index of the step in the trial, for the error message.
        labels: names of the tasks for the error message; their indices if None.

    Raises:
        NonFiniteError: a number is not finite in float32.
    """
    if isinstance(observations, np.ndarray) and observations.dtype == np.float32:
        rows = observation_rows(space, observations)
    else:
        with np.errstate(over="ignore"):
            rows = observation_rows(space, observations)
    _check_finite("observation", rows, step, labels)
    return rows


def _float32(values: NDArray[Any]) -> FloatArray:
    """Return a copy in single precision; overflow gives infinity, which ``_check_finite`` detects."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _training_reward(infos: dict[str, Any], reward: FloatArray, labels: Sequence[object] | None) -> FloatArray:
    """Return the critic's reward, (task,): the environment's training reward if it gives one, else ``reward``."""
    numbers = read_numbers(infos, TRAINING_REWARD, len(reward), labels) if infos else None
    return reward if numbers is None else _float32(np.where(numbers.given, numbers.values, reward))


def _action_message(action: FloatArray, step: int, labels: Sequence[object] | None) -> str:
    row = int(np.nonzero(~np.isfinite(action).all(1))[0][0])
    return (
        f"The agent chose the action {action[row]} for {labelled(row, labels)} at step {step} of the trial. "
        f"{ACTION_REMEDY}"
    )


def _check_finite(name: str, values: NDArray[Any], step: int, labels: Sequence[object] | None) -> None:
    if is_finite(values):
        return
    row = int(np.nonzero(~np.isfinite(values))[0][0])
    finite = "finite"
    if np.isinf(values[row]).any():
        finite += f" in float32, which ends at {FLOAT32_MAX:.2g}; scale them to about one in make_env"
    raise NonFiniteError(
        f"The environment of {labelled(row, labels)} returned {name} {values[row]} at step {step} of the trial; "
        f"observations and rewards must be {finite}. Nothing of this trial was learnt."
    )
