"""Off-policy meta-training: the agent learns from a replay."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import torch
from torch import Tensor

from agents import LearningAgent, MetaAgent, MetaBatch, TrialBatch
from agents.base import MetaBatchAgent
from agents.spaces import is_image
from pearl.checkpoint.fields import finite_number
from pearl.collection.references import ConstantActionAgent, RandomAgent
from pearl.collection.rollout import StepEvent, Trajectories
from pearl.config.run import Config
from pearl.config.training import ReplayConfig, TrainingConfig, TrialReplayConfig
from pearl.replay.sampling import MetaSampler
from pearl.replay.transitions import TaskReplay
from pearl.replay.trials import TrialReplay
from pearl.tasks import Task, TaskDistribution
from pearl.training.base import BatchT, MetaTraining
from pearl.training.learner import AgentLearner, Learner, learning_device, make_learner

INITIAL_POLICIES: dict[str, Callable[[gym.Space[Any]], MetaAgent[Any]]] = {
    "random": RandomAgent,
    "steady": ConstantActionAgent,
}

INITIAL_PART = 10
"""A random policy plays this part of training first, a tenth, unless the settings say otherwise"""
INITIAL_STEPS = 10_000
"""Most environment steps of it"""

ReplaySettingsT = TypeVar("ReplaySettingsT", bound=ReplayConfig)


class OffPolicyTraining(MetaTraining[BatchT, ReplaySettingsT]):
    """Base class of meta-training from a replay.

    First a random policy plays. Then gradient steps follow in a fixed ratio to environment steps, those of the random
    policy included.
    """

    section: ClassVar[type[ReplayConfig]] = ReplayConfig
    replay: TaskReplay | TrialReplay
    learner: Learner

    def __init__(
        self,
        agent: LearningAgent[BatchT],
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: Config,
        seed: int,
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        self._owed_gradient_steps = 0.0

    @property
    def can_resume(self) -> bool:  # noqa: D102
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
        settings = self.settings
        longest = max(settings.initial_episodes or 0, settings.episodes_per_trial) * horizon
        # The gradient steps of one iteration can be owed, and of the initial steps. ``horizon`` is that of the first
        # task, and other tasks may have longer episodes; a factor of a hundred still limits what a file can demand.
        longest_wait = INITIAL_STEPS + 100 * longest * len(self.tasks)
        most = 1.0 + settings.gradient_steps_per_env_step * longest_wait
        self._owed_gradient_steps = finite_number(state, "owed_gradient_steps", "training.", most=most)

    def _collect(self, on_step: Callable[[StepEvent], bool] | None) -> tuple[Sequence[int], Trajectories]:
        training = self.settings
        if not self._explores_at_random:
            return super()._collect(on_step)
        policy = INITIAL_POLICIES[training.initial_policy or "random"](self.agent.action_space)
        if training.initial_episodes is None:
            chosen: Sequence[int] = self._choose()
            return chosen, self._play(policy, chosen, self._initial_trial, on_step)
        everyone = range(len(self.tasks))
        return everyone, self._play(policy, everyone, training.initial_episodes, on_step)

    @property
    def _explores_at_random(self) -> bool:
        """Whether the next trials are a random policy's; gradient steps wait for their end."""
        if self.settings.initial_episodes is None:
            return self.env_steps < self._initial_steps or int(self.replay.n_added.sum()) == 0
        return self.settings.initial_episodes > 0 and int(self.replay.n_added.min()) == 0

    @property
    def _initial_trial(self) -> int:
        """Episodes of a random policy's trial, where no number is set: as many as in later trials, for one return."""
        return self.settings.episodes_per_trial

    @property
    def _initial_steps(self) -> int:
        """Steps that a random policy plays first, where no number of episodes is set."""
        return min(self.settings.total_steps // INITIAL_PART, INITIAL_STEPS)

    def iteration_line(self, horizon: int) -> str:  # noqa: D102
        line = super().iteration_line(horizon)
        if not self._explores_at_random or self.settings.initial_episodes is not None:
            return line
        return f"{line} A random policy plays the first {self._initial_steps:,}; nothing is learnt before."

    def _store(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        self._add(chosen, trajectories)
        self._see(trajectories)
        self._owed_gradient_steps += self.settings.gradient_steps_per_env_step * trajectories.n_transitions

    @abstractmethod
    def _add(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        """Add one trial of each task in ``chosen``, by index, to the replay."""

    def _learn(self, trajectories: Trajectories) -> dict[str, float]:
        if self._explores_at_random:
            return {}
        before = self.learner.n_taken
        try:
            return self.learner.learn(int(self._owed_gradient_steps))
        finally:
            n_taken = self.learner.n_taken - before
            self._owed_gradient_steps -= n_taken
            self.gradient_steps += n_taken

    def _set_learning_rate(self, learning_rate: float) -> None:
        self.learner.set_learning_rate(learning_rate)


class ReplayTraining(OffPolicyTraining[MetaBatch, TrainingConfig]):
    """Meta-training from a replay of each task's transitions.

    Args:
        agent: an agent that learns from a ``MetaBatch``.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: seed of every draw in collection and learning.

    Raises:
        ConfigError: PyTorch cannot use the device, or the family cannot compute the rewards for relabelling, or its
            tasks drift and agent.auxiliary.task_inference_weight is positive.
        MemoryError: the replay would exceed its budget.
    """

    section: ClassVar[type[TrainingConfig]] = TrainingConfig
    agent: MetaBatchAgent
    replay: TaskReplay

    def __init__(
        self,
        agent: MetaBatchAgent,
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: Config,
        seed: int,
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        settings = self.settings
        device = learning_device(settings)
        self.replay = TaskReplay(
            len(tasks),
            settings.replay_capacity,
            agent.observation_dim,
            agent.action_dim,
            budget_mb=settings.replay_budget_mb,
            images=is_image(agent.observation_space),
            device=device,
        )

        def make_sampler(rng: torch.Generator) -> MetaSampler:
            return MetaSampler(
                self.replay,
                distribution,
                tasks,
                settings,
                rng,
                early_context=agent.reads_early_context,
                task_numbers=agent.reads_task_numbers,
            )

        self.learner = make_learner(agent, make_sampler, self._learn_rng, device)

    def _player(self) -> MetaAgent[Any]:
        return self.agent.collecting(self._collect_rng)

    @property
    def _initial_trial(self) -> int:
        """One episode: random episodes of a task are alike, and more tasks are played."""
        return 1

    def _preferred(self, order: Tensor) -> Tensor:
        """Return the tasks with the fewest transitions first, so that each is played early."""
        return order[self.replay.n_added[order].argsort(stable=True)]

    def _add(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        self.replay.add(chosen, trajectories)


class TrialReplayTraining(OffPolicyTraining[TrialBatch, TrialReplayConfig]):
    """Meta-training from a replay of trials.

    Args:
        agent: an agent that learns from a ``TrialBatch``.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: seed of every draw in collection and learning.

    Raises:
        MemoryError: the replay would exceed its budget.
    """

    section: ClassVar[type[TrialReplayConfig]] = TrialReplayConfig
    replay: TrialReplay

    def __init__(
        self,
        agent: LearningAgent[TrialBatch],
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: Config,
        seed: int,
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        self.replay = TrialReplay(
            self.settings.replay_capacity,
            agent.observation_dim,
            agent.action_dim,
            budget_mb=self.settings.replay_budget_mb,
            images=is_image(agent.observation_space),
        )
        self.learner = AgentLearner(agent, self._sample, self._learn_rng)

    def _add(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        self.replay.add(trajectories)

    def _sample(self) -> TrialBatch:
        training = self.settings
        return self.replay.sample(training.meta_batch, self._learn_rng, longest=training.sequence_length)
