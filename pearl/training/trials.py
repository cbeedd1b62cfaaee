"""Meta-training from kept trials."""

from collections.abc import Sequence

from agents import RecurrentSACAgent, TrialBatch
from agents.spaces import is_image
from pearl.collection.rollout import Trajectories
from pearl.config.run import RecurrentSACConfig
from pearl.replay.trials import TrialReplay
from pearl.tasks import Task, TaskDistribution
from pearl.training.base import OffPolicyTraining
from pearl.training.learner import AgentLearner


class TrialReplayTraining(OffPolicyTraining):
    """Meta-training from a replay of trials.

    Args:
        agent: learns from a ``TrialBatch``.
        distribution: builds the training tasks' environments.
        tasks: the training tasks.
        config: the run's settings.
        seed: of every draw in collection and learning.

    Raises:
        MemoryError: the replay would exceed its budget.
    """

    config: RecurrentSACConfig
    replay: TrialReplay

    def __init__(
        self,
        agent: RecurrentSACAgent,
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        config: RecurrentSACConfig,
        seed: int,
    ) -> None:
        super().__init__(agent, distribution, tasks, config, seed)
        self.replay = TrialReplay(
            config.training.replay_capacity,
            agent.observation_dim,
            agent.action_dim,
            budget_mb=config.training.replay_budget_mb,
            images=is_image(agent.observation_space),
        )
        self.learner = AgentLearner(agent, self._sample, self._learn_rng)

    def _keep(self, chosen: Sequence[int], trajectories: Trajectories) -> None:
        self.replay.add(trajectories)

    def _sample(self) -> TrialBatch:
        training = self.config.training
        return self.replay.sample(training.meta_batch, self._learn_rng, longest=training.sequence_length)
