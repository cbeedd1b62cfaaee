"""Meta-training: collect trials, fill the replay, take gradient steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents import MetaAgent, PEARLAgent
from agents.features import NormalisedFeatures
from agents.spaces import is_image
from pearl.config import PEARLConfig
from pearl.random_state import random_state_to_json, restore_random_state
from pearl.references import RandomAgent, SteadyAgent
from pearl.replay import TaskReplay
from pearl.rollout import StepEvent, rollout
from pearl.sampling import MetaSampler
from pearl.tasks import Task, TaskDistribution
from pearl.workers import make_envs

INITIAL_POLICIES: dict[str, Callable[[gym.Space[Any]], MetaAgent[Any]]] = {"random": RandomAgent, "steady": SteadyAgent}


class DivergedError(RuntimeError):
    """A loss became NaN or infinite."""


class MetaTraining:
    """Everything that meta-training changes beside the agent: replay, counters, random generators.

    Args:
        agent: learns.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: of every draw in collection and learning.

    Raises:
        MemoryError: the replay would exceed its budget.
    """

    def __init__(
        self, agent: PEARLAgent, distribution: TaskDistribution, tasks: Sequence[Task], config: PEARLConfig, seed: int
    ) -> None:
        self.agent = agent
        self.distribution = distribution
        self.tasks = tasks
        self.config = config
        self.env_steps = 0
        self.gradient_steps = 0
        self.collection_s = 0.0
        self.learning_s = 0.0
        self._owed_gradient_steps = 0.0
        collecting, learning = np.random.SeedSequence(seed).generate_state(2)
        self._collect_rng = torch.Generator().manual_seed(int(collecting))
        self._learn_rng = torch.Generator().manual_seed(int(learning))
        self.replay = TaskReplay(
            len(tasks),
            config.training.replay_capacity,
            agent.observation_dim,
            agent.action_dim,
            budget_mb=config.training.replay_budget_mb,
            images=is_image(agent.observation_space),
        )
        self._sampler = MetaSampler(self.replay, distribution, tasks, config, self._learn_rng)
        self._envs: VectorEnv[Any, Any, Any] | None = None

    @property
    def envs(self) -> VectorEnv[Any, Any, Any]:
        """The training tasks' environments, stepped together."""
        if self._envs is None or self._envs.closed:  # Ctrl-C closes those that run in worker processes.
            self._envs = self._make_envs(self.tasks)
        return self._envs

    def iterate(self, on_step: Callable[[StepEvent], bool] | None = None) -> dict[str, float]:
        """Run one iteration: one trial of each chosen task, then the gradient steps it is due.

        Args:
            on_step: called after each environment step of the tasks together; False ends the collection early.

        Returns:
            The agent's scalars, averaged over the iteration's gradient steps; empty where there were none.

        Raises:
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
        """
        training = self.config.training
        begun = time.perf_counter()
        steps_before = self.env_steps
        if int(self.replay.n_added.min()) == 0 and training.initial_episodes > 0:
            initial = INITIAL_POLICIES[training.initial_policy](self.agent.action_space)
            self._collect(initial, range(len(self.tasks)), training.initial_episodes, on_step)
        else:
            n_chosen = training.tasks_per_iteration or len(self.tasks)
            chosen = torch.randperm(len(self.tasks), generator=self._collect_rng)[:n_chosen].sort().values.tolist()
            self._collect(self.agent, chosen, training.episodes_per_trial, on_step)
        collected = time.perf_counter()
        self._owed_gradient_steps += training.gradient_steps_per_env_step * (self.env_steps - steps_before)
        metrics = self._learn(int(self._owed_gradient_steps))
        self._owed_gradient_steps -= int(self._owed_gradient_steps)
        self.collection_s += collected - begun
        self.learning_s += time.perf_counter() - collected
        return metrics

    def _collect(
        self,
        agent: MetaAgent[Any],
        chosen: Sequence[int],
        episodes: int,
        on_step: Callable[[StepEvent], bool] | None,
    ) -> None:
        def count(event: StepEvent) -> bool:
            self.env_steps += event.n_active
            return on_step is None or on_step(event)

        tasks = [self.tasks[index] for index in chosen]
        envs = self.envs if len(tasks) == len(self.tasks) else self._make_envs(tasks)
        trajectories, _ = rollout(
            envs,
            agent,
            agent.begin(len(tasks), self._collect_rng),
            episodes=episodes,
            seed=int(torch.randint(2**31, (1,), generator=self._collect_rng)),
            rng=self._collect_rng,
            on_step=count,
            labels=tasks,
        )
        if envs is not self.envs:
            envs.close()
        self.replay.add(chosen, trajectories)
        self.agent.see_rewards(torch.from_numpy(trajectories.training_reward[trajectories.mask]))
        if isinstance(self.agent.features, NormalisedFeatures):
            self.agent.features.see(torch.from_numpy(trajectories.observation[trajectories.mask]))

    def _make_envs(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        return make_envs(self.distribution, tasks, self.config.training.workers)

    def _learn(self, n_steps: int) -> dict[str, float]:
        agent = self.config.agent
        if agent.final_learning_rate is not None:
            progress = self.env_steps / self.config.training.total_steps
            decayed = min(1.0, max(0.0, 2.0 * progress - 1.0))
            self.agent.set_learning_rate(
                agent.learning_rate + decayed * (agent.final_learning_rate - agent.learning_rate)
            )
        if agent.initial_kl_weight is not None:
            reached = min(1.0, 2.0 * self.env_steps / self.config.training.total_steps)
            self.agent.kl_weight = agent.initial_kl_weight + reached * (agent.kl_weight - agent.initial_kl_weight)
        sums: dict[str, Tensor] = {}
        for _ in range(n_steps):
            for name, value in self.agent.update(self._sampler.sample(), self._learn_rng).items():
                sums[name] = sums[name] + value if name in sums else value
        self.gradient_steps += n_steps
        metrics = {name: float(total) / n_steps for name, total in sums.items()}
        diverged = [name for name, value in metrics.items() if not np.isfinite(value)]
        if diverged:
            raise DivergedError(
                f"Learning diverged at {self.gradient_steps} gradient steps: {', '.join(diverged)} is not finite. The "
                "last checkpoint stands. Lower agent.learning_rate or agent.reward_scale and resume or start anew."
            )
        return metrics

    def state(self) -> dict[str, Any]:
        """Return the counters and the random generators' states as JSON."""
        return {
            "env_steps": self.env_steps,
            "gradient_steps": self.gradient_steps,
            "owed_gradient_steps": self._owed_gradient_steps,
            "collection_s": self.collection_s,
            "learning_s": self.learning_s,
            "collect_rng": random_state_to_json(self._collect_rng),
            "learn_rng": random_state_to_json(self._learn_rng),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.env_steps = state["env_steps"]
        self.gradient_steps = state["gradient_steps"]
        self._owed_gradient_steps = state["owed_gradient_steps"]
        self.collection_s = state["collection_s"]
        self.learning_s = state["learning_s"]
        restore_random_state(self._collect_rng, state["collect_rng"])
        restore_random_state(self._learn_rng, state["learn_rng"])
