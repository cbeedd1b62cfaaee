"""Meta-training: collect trials, learn from them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents import MetaAgent, PEARLAgent, Transitions, Trials
from agents.features import NormalisedFeatures
from agents.spaces import is_image
from pearl.config import Config, PEARLConfig, RecurrentSACConfig
from pearl.learner import Learner, learning_device, make_learner
from pearl.optimizer_state import load_optimizer_tensors, optimizer_tensors
from pearl.random_state import random_state_to_json, restore_random_state
from pearl.references import RandomAgent, SteadyAgent
from pearl.replay import TaskReplay
from pearl.rollout import StepEvent, Trajectories, rollout
from pearl.sampling import MetaSampler
from pearl.tasks import Task, TaskDistribution
from pearl.trial_replay import TrialReplay
from pearl.workers import make_envs

INITIAL_POLICIES: dict[str, Callable[[gym.Space[Any]], MetaAgent[Any]]] = {"random": RandomAgent, "steady": SteadyAgent}


class DivergedError(RuntimeError):
    """A loss became NaN or infinite."""


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

    @property
    def envs(self) -> VectorEnv[Any, Any, Any]:
        """The training tasks' environments, stepped together."""
        if self._envs is None or self._envs.closed:  # Ctrl-C closes those that run in worker processes.
            self._envs = self._make_envs(self.tasks)
        return self._envs

    def iterate(self, on_step: Callable[[StepEvent], bool] | None = None) -> dict[str, float]:
        """Run one iteration: collect one trial of each chosen task, then learn.

        Args:
            on_step: called after each environment step of the tasks together; False ends the collection early.

        Returns:
            The agent's scalars, averaged over the iteration's gradient steps; empty where there were none.

        Raises:
            NonFiniteError: an environment returned a NaN or infinite value.
            DivergedError: a loss became NaN or infinite.
        """
        begun = time.perf_counter()
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
                "Lower agent.learning_rate or agent.reward_scale, and start anew."
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
        return trajectories

    def _see(self, trajectories: Trajectories) -> None:
        """Move what observations are normalised by, where they are."""
        if isinstance(self.agent.features, NormalisedFeatures):
            self.agent.features.see(torch.from_numpy(trajectories.observation[trajectories.mask]))

    def _make_envs(self, tasks: Sequence[Task]) -> VectorEnv[Any, Any, Any]:
        return make_envs(self.distribution, tasks, self.config.training.workers)

    def state(self) -> dict[str, Any]:
        """Return the counters and the random generators' states as JSON."""
        return {
            "env_steps": self.env_steps,
            "gradient_steps": self.gradient_steps,
            "collection_s": self.collection_s,
            "learning_s": self.learning_s,
            "collect_rng": random_state_to_json(self._collect_rng),
            "learn_rng": random_state_to_json(self._learn_rng),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.env_steps = state["env_steps"]
        self.gradient_steps = state["gradient_steps"]
        self.collection_s = state["collection_s"]
        self.learning_s = state["learning_s"]
        restore_random_state(self._collect_rng, state["collect_rng"])
        restore_random_state(self._learn_rng, state["learn_rng"])


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

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: D102
        super().load_state(state)
        self._owed_gradient_steps = state["owed_gradient_steps"]

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
        n_steps = int(self._owed_gradient_steps)
        self._owed_gradient_steps -= n_steps
        metrics = self.learner.learn(n_steps)
        self.gradient_steps += n_steps
        return metrics

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


class TrialTraining(MetaTraining):
    """Meta-training from the trials of each iteration alone, by an agent that learns from ``Trials``."""

    @property
    def can_go_on(self) -> bool:  # noqa: D102
        return self.gradient_steps == 0 or bool(self.agent.optimizer.state)

    def tensors(self) -> dict[str, dict[str, Tensor]]:  # noqa: D102
        return {"optimizers": optimizer_tensors(self.agent.optimizer)}

    def load_tensors(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:  # noqa: D102
        load_optimizer_tensors(self.agent.optimizer, groups["optimizers"])

    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        metrics = {
            name: float(value) for name, value in self.agent.update(trials(trajectories), self._learn_rng).items()
        }
        self.gradient_steps += int(metrics.pop("gradient_steps"))
        self._see(trajectories)  # Now: what was acted on has to be learnt from as it was read.
        return metrics

    def _set_learning_rate(self, learning_rate: float) -> None:
        self.agent.set_learning_rate(learning_rate)


def trials(trajectories: Trajectories) -> Trials:
    """Return what was collected as trial-based agents learn from it."""
    fields = {name: torch.from_numpy(getattr(trajectories, name)) for name in Transitions._fields}
    return Trials(
        transitions=Transitions(**fields | {"terminated": fields["terminated"].float()}),
        training_reward=torch.from_numpy(trajectories.training_reward),
        ended=torch.from_numpy(trajectories.terminated | trajectories.truncated),
        mask=torch.from_numpy(trajectories.mask),
        extras={name: torch.from_numpy(values) for name, values in trajectories.extras.items()},
    )
