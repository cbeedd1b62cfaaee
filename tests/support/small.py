"""Environments that tell where a transition comes from, and models that meta-train in a fraction of a second."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

import pearl
from pearl import PEARL, MetaLearner, PEARLConfig, Task, TaskDistribution
from pearl.checkpoint.optimizer_state import optimizer_tensors
from pearl.config.reading import from_mapping
from pearl.training.off_policy import OffPolicyTraining

LENGTH = 4
HORIZON = 10
INITIAL = 4 * LENGTH
"""Environment steps of the random episodes of a small model: one of each of 4 tasks"""
ITERATION = 4 * 2 * LENGTH
"""Environment steps of an iteration of a small model: two episodes of each of 4 tasks"""


Broken = tuple[str, int, float]
"""What breaks, "reward" or "observation", at which step of the environment's life (from 1), and the value then"""


class CountingEnv(gym.Env[Any, Any]):
    """Observes (number, episode, step); the reward is ``number + step / 10`` whatever the action.

    The episode counts from 0 at a seeded reset, so that a seed fixes everything.

    Args:
        number: what tells this environment's transitions from another's.
        length: steps after which it ends.
        ending: "terminated", "truncated" or "never".
        training_reward: steps (from 1) whose info has a training reward, ``-step``.
        broken: "reward" or "observation", the step of the environment's life (from 1) that returns it, and the value.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(
        self,
        number: float = 0.0,
        length: int = LENGTH,
        *,
        ending: str = "truncated",
        training_reward: Collection[int] = (),
        broken: Broken | None = None,
    ) -> None:
        self.number, self.length, self.ending = number, length, ending
        self.training_reward = training_reward
        self.broken = broken
        self.life = self.episode = self.steps = 0
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.life += 1
        self.steps += 1
        reward, observation = self.number + self.steps / 10, self._observation()
        if self.broken is not None and self.broken[1] == self.life:
            if self.broken[0] == "reward":
                reward = self.broken[2]
            else:
                observation[1] = self.broken[2]
        ended = self.steps >= self.length
        info = {"training_reward": float(-self.steps)} if self.steps in self.training_reward else {}
        return observation, reward, ended and self.ending == "terminated", ended and self.ending == "truncated", info

    def close(self) -> None:
        self.closed = True

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.number, self.episode, self.steps], np.float32)


class Counting(TaskDistribution):
    """Tasks of `CountingEnv`, numbered uniformly in [-1, 1].

    Args:
        length: of every task's episodes.
        broken: as `CountingEnv` takes it, of the environments of the task with the largest number.
    """

    def __init__(self, length: int = LENGTH, broken: Broken | None = None) -> None:
        self.length = length
        self.broken = broken
        self._largest = -np.inf

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        tasks = [Task({"number": number}) for number in rng.uniform(-1, 1, n).tolist()]
        self._largest = max(task.params["number"] for task in tasks)
        return tasks

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        number = task.params["number"]
        broken = self.broken if number == self._largest else None
        return gym.wrappers.TimeLimit(CountingEnv(number, self.length, broken=broken), HORIZON)


def _same_env(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return env


def together(*envs: gym.Env[Any, Any], **options: Any) -> SyncVectorEnv:
    """Step environments together as task distributions do."""
    return SyncVectorEnv([partial(_same_env, env) for env in envs], autoreset_mode=AutoresetMode.DISABLED, **options)


def small_config(
    *,
    encoder: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
) -> PEARLConfig:
    """Tiny networks and few tasks; 1 random episode of each of 4 tasks, then 2 episodes of each an iteration."""
    widths: dict[str, Any] = {"latent_dim": 2, "hidden_sizes": (8,), "feature_dim": 8, "head_sizes": (8,)}
    collection: dict[str, Any] = {
        "total_steps": 160,
        "n_train_tasks": 4,
        "tasks_per_iteration": None,
        "episodes_per_trial": 2,
        "initial_episodes": 1,
        "gradient_steps_per_env_step": 0.125,
        "meta_batch": 3,
        "batch_size": 8,
        "context": {"max_length": 6},
        "replay_capacity": 50,
    }
    protocol: dict[str, Any] = {"n_test_tasks": 3, "exploration_episodes": 1, "episodes": 2, "interval": 1_000}
    small = {"encoder": widths, "agent": {"hidden_sizes": (8,)}, "training": collection, "evaluation": protocol}
    chosen = {"encoder": encoder, "agent": agent, "training": training, "evaluation": evaluation}
    base = from_mapping(PEARLConfig, small)
    return from_mapping(PEARLConfig, {name: settings or {} for name, settings in chosen.items()}, base)


def small_model(family: str | TaskDistribution | None = None, *, seed: int = 0, **sections: Any) -> PEARL:
    """Build a model with `small_config`; of the counting family where none is given."""
    return PEARL(Counting() if family is None else family, small_config(**sections), seed=seed)


def load(folder: Path | str) -> MetaLearner:
    """Load a model that was saved in the counting family."""
    return pearl.load(folder, distribution=Counting())


def everything_learnt(model: Any) -> dict[str, Any]:
    """All that meta-training changes, wall-clock times apart, as copies."""
    groups = {
        "weights": model.agent.state_dict(),
        "optimizers": optimizer_tensors(model.agent.optimizer),
    }
    groups |= {"replay": model.training.replay.tensors()} if isinstance(model.training, OffPolicyTraining) else {}
    tensors = {f"{group}/{name}": value.clone() for group, held in groups.items() for name, value in held.items()}
    counters = {name: value for name, value in model.training.state().items() if not name.endswith("_s")}
    return tensors | counters


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what is not bit for bit the same in two outcomes of `everything_learnt`."""
    return sorted(name for name in one.keys() | other.keys() if not _same(one.get(name), other.get(name)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def files_of(folder: Path) -> set[str]:
    """Names of the files in a folder."""
    return {path.name for path in folder.iterdir()}
