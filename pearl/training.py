"""Meta-training: collect trials, learn from them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents import MetaAgent, PEARLAgent
from agents.features import NormalisedFeatures
from agents.spaces import is_image
from pearl.config import Config, PEARLConfig, RecurrentSACConfig
from pearl.divergence import DivergedError, remedy
from pearl.document_fields import finite_number, mapping, whole_number
from pearl.learner import Learner, learning_device, make_learner
from pearl.random_state import random_state_to_json, restore_random_state
from pearl.references import RandomAgent, SteadyAgent
from pearl.replay import TaskReplay
from pearl.rollout import StepEvent, Trajectories, rollout
from pearl.sampling import MetaSampler
from pearl.tasks import Task, TaskDistribution
from pearl.trial_replay import TrialReplay
from pearl.workers import make_envs

INITIAL_POLICIES: dict[str, Callable[[gym.Space[Any]], MetaAgent[Any]]] = {"random": RandomAgent, "steady": SteadyAgent}


class MetaTraining(ABC):
    """Everything that meta-training changes beside the agent: counters, random generators, what was collected.

    Args:
        agent: learns.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: of every draw in collection and learning.
    """

    def __init__(
        self, agent: Any, distribution: TaskDistribution, tasks: Sequence[Task], config: Config, seed: int
    ) -> None:
        self.agent = agent
        self.distribution = distribution
        self.tasks = tasks
        self.config = config
        self.env_steps = 0
        self.gradient_steps = 0
        self.collection_s = 0.0
        self.learning_s = 0.0
        collecting, learning = np.random.SeedSequence(seed).generate_state(2)
        self._collect_rng = torch.Generator().manual_seed(int(collecting))
        self._learn_rng = torch.Generator().manual_seed(int(learning))
        self._envs: VectorEnv[Any, Any, Any] | None = None
        self._before_trial: tuple[int, Tensor] | None = None  # the counter and the generator, while a trial runs

    @property
    def envs(self) -> VectorEnv[Any, Any, Any]:
        """The training tasks' environments, stepped together."""
        if self._envs is None or self._envs.closed:  # Ctrl-C closes those that run in worker processes.
            self._envs = self._make_envs(self.tasks)
        return self._envs

    def close_envs(self) -> None:
        """Close the training tasks' environments; they are made anew when they are needed."""
        if self._envs is not None:
            self._envs.close()

    def iterate(self, on_step: Callable[[StepEvent], bool] | None = None) -> dict[str, float]:
        """Run one iteration: collect one trial of each chosen task, then learn.

        Trials count whole or not at all: after an exception within them, the counters and the generators are as they
        were before. Gradient steps from a replay that an exception cuts short stay owed to the next iteration.

        Args:
            on_step: called after each environment step of the tasks together; False ends the collection early.

        Returns:
            The agent's scalars, averaged over the iteration's gradient steps; empty where there were none.

        Raises:
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
        """
        begun = time.perf_counter()
        with self._whole_trials():
            trajectories = self._collect(on_step)
        collected = time.perf_counter()
        agent = self.config.agent
        if agent.final_learning_rate is not None:
            progress = self.env_steps / self.config.training.total_steps
            decayed = min(1.0, max(0.0, 2.0 * progress - 1.0))
            self._set_learning_rate(agent.learning_rate + decayed * (agent.final_learning_rate - agent.learning_rate))
        metrics = self._learn(trajectories)
        diverged = [name for name, value in metrics.items() if not np.isfinite(value)]
        if diverged:
            raise DivergedError(
                f"Learning diverged at {self.gradient_steps} gradient steps: {', '.join(diverged)} is not finite. "
                f"{remedy(trajectories, agent)}"
            )
        self.collection_s += collected - begun
        self.learning_s += time.perf_counter() - collected
        return metrics

    @property
    @abstractmethod
    def can_go_on(self) -> bool:
        """Whether what learning goes on from is there, and not the agent's weights alone."""

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return what learning goes on from beside the agent's weights, in groups by name."""

    @abstractmethod
    def load_tensors(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what ``tensors`` returned.

        Raises:
            KeyError, ValueError: the tensors do not fit.
        """

    @abstractmethod
    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        """Take the iteration's gradient steps after ``trajectories`` were collected; return the agent's scalars."""

    @abstractmethod
    def _set_learning_rate(self, learning_rate: float) -> None: ...

    @contextmanager
    def _whole_trials(self) -> Iterator[None]:
        """Restore the counter and the generator if the trials within do not end."""
        env_steps, generator = self._before_trial = self.env_steps, self._collect_rng.get_state()
        try:
            yield
        except BaseException:  # Ctrl-C too.
            self.env_steps = env_steps
            self._collect_rng.set_state(generator)
            raise
        finally:
            self._before_trial = None

    def _collect(self, on_step: Callable[[StepEvent], bool] | None) -> Trajectories:
        """Play a trial of each task that the iteration chooses."""
        n_chosen = self.config.training.tasks_per_iteration or len(self.tasks)
        chosen = torch.randperm(len(self.tasks), generator=self._collect_rng)[:n_chosen].sort().values.tolist()
        return self._play(self.agent, chosen, self.config.training.episodes_per_trial, on_step)

    def _play(
        self,
        agent: MetaAgent[Any],
        chosen: Sequence[int],
        episodes: int,
        on_step: Callable[[StepEvent], bool] | None,
    ) -> Trajectories:
        def count(event: StepEvent) -> bool:
            self.env_steps += event.n_active
            return on_step is None or on_step(event)

        tasks = [self.tasks[index] for index in chosen]
        envs = self.envs if len(tasks) == len(self.tasks) else self._make_envs(tasks)
        try:
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
        finally:
            if envs is not self._envs:
                envs.close()
        return trajectories

    def _see(self, trajectories: Trajectories) -> None:
        """Move what observations are normalised by, where they are."""
        if isinstance(self.agent.features, NormalisedFeatures):
            self.agent.features.see(torch.from_numpy(trajectories.observation[trajectories.mask]))

    def _make_envs(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        training = self.config.training
        return make_envs(self.distribution, tasks, training.workers, training.worker_timeout_s)

    def state(self) -> dict[str, Any]:
        """Return the counters and the random generators' states as JSON.

        While trials run, they are those from before these trials, which are not kept yet.
        """
        env_steps, collect_rng = self.env_steps, self._collect_rng
        if self._before_trial is not None:
            env_steps, collect_rng = self._before_trial[0], torch.Generator()
            collect_rng.set_state(self._before_trial[1])
        return {
            "env_steps": env_steps,
            "gradient_steps": self.gradient_steps,
            "collection_s": self.collection_s,
            "learning_s": self.learning_s,
            "collect_rng": random_state_to_json(collect_rng),
            "learn_rng": random_state_to_json(self._learn_rng),
        }

    def load_state(self, state: Mapping[str, Any], horizon: int) -> None:
        """Take over what ``state`` returned, in training with episodes of ``horizon`` steps.

        Raises:
            ValueError: a field is missing or is not what it has to be; the message names it.
        """
        self.env_steps = whole_number(state, "env_steps", "training.")
        self.gradient_steps = whole_number(state, "gradient_steps", "training.")
        self.collection_s = finite_number(state, "collection_s", "training.")
        self.learning_s = finite_number(state, "learning_s", "training.")
        restore_random_state(self._collect_rng, mapping(state, "collect_rng", "training."), "training.collect_rng")
        restore_random_state(self._learn_rng, mapping(state, "learn_rng", "training."), "training.learn_rng")


class OffPolicyTraining(MetaTraining):
    """Shared part of meta-training from a replay: what was collected is learnt from again and again.

    First a random policy plays each training task; then gradient steps keep pace with environment steps.
    """

    config: PEARLConfig | RecurrentSACConfig
    replay: TaskReplay | TrialReplay
    learner: Learner

    def __init__(
        self,
        agent: Any,
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: PEARLConfig | RecurrentSACConfig,
        seed: int,
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        self._owed_gradient_steps = 0.0

    @property
    def can_go_on(self) -> bool:  # noqa: D102
        return self.env_steps == 0 or int(self.replay.n_added.sum()) > 0

    def tensors(self) -> dict[str, dict[str, Tensor]]:  # noqa: D102
        return {"optimizers": self.learner.optimizer_state(), "replay": self.replay.tensors()}

    def load_tensors(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:  # noqa: D102
        self.learner.load_optimizer_state(groups["optimizers"])
        self.replay.load_tensors(groups["replay"])

    def state(self) -> dict[str, Any]:  # noqa: D102
        return super().state() | {"owed_gradient_steps": self._owed_gradient_steps}

    def load_state(self, state: Mapping[str, Any], horizon: int) -> None:  # noqa: D102
        super().load_state(state, horizon)
        config = self.config.training
        longest = max(config.initial_episodes, config.episodes_per_trial) * horizon
        # No more than an iteration's steps can be owed: they are taken before the next one.
        most = 1.0 + config.gradient_steps_per_env_step * longest * len(self.tasks)
        self._owed_gradient_steps = finite_number(state, "owed_gradient_steps", "training.", most=most)

    def _collect(self, on_step: Callable[[StepEvent], bool] | None) -> Trajectories:
        training = self.config.training
        if int(self.replay.n_added.min()) == 0 and training.initial_episodes > 0:
            initial = INITIAL_POLICIES[training.initial_policy](self.agent.action_space)
            return self._play(initial, range(len(self.tasks)), training.initial_episodes, on_step)
        return super()._collect(on_step)

    def _play(
        self,
        agent: MetaAgent[Any],
        chosen: Sequence[int],
        episodes: int,
        on_step: Callable[[StepEvent], bool] | None,
    ) -> Trajectories:
        before = self.env_steps
        trajectories = super()._play(agent, chosen, episodes, on_step)
        self._keep(chosen, trajectories)
        self._see(trajectories)
        self._owed_gradient_steps += self.config.training.gradient_steps_per_env_step * (self.env_steps - before)
        return trajectories

    @abstractmethod
    def _keep(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        """Put a trial of each task in ``chosen``, by number, into the replay."""

    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        before = self.learner.n_taken
        try:
            return self.learner.learn(int(self._owed_gradient_steps))
        finally:
            n_taken = self.learner.n_taken - before
            self._owed_gradient_steps -= n_taken
            self.gradient_steps += n_taken

    def _set_learning_rate(self, learning_rate: float) -> None:
        self.learner.set_learning_rate(learning_rate)


class ReplayTraining(OffPolicyTraining):
    """Meta-training from a replay of each task's transitions.

    Args:
        agent: learns from a ``MetaBatch``.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: of every draw in collection and learning.

    Raises:
        ConfigError: the device to learn on is not there, or the family cannot compute the rewards that are asked for.
        MemoryError: the replay would exceed its budget.
    """

    config: PEARLConfig
    replay: TaskReplay

    def __init__(
        self, agent: PEARLAgent, distribution: TaskDistribution, tasks: Sequence[Task], config: PEARLConfig, seed: int
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        device = learning_device(config.training)
        self.replay = TaskReplay(
            len(tasks),
            config.training.replay_capacity,
            agent.observation_dim,
            agent.action_dim,
            budget_mb=config.training.replay_budget_mb,
            images=is_image(agent.observation_space),
            device=device,
        )

        def make_sampler(rng: torch.Generator) -> MetaSampler:
            return MetaSampler(self.replay, distribution, tasks, config, rng)

        self.learner = make_learner(agent, make_sampler, self._learn_rng, device)

    def _keep(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        self.replay.add(chosen, trajectories)
