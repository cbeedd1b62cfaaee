"""Meta-batches for a gradient step, from each task's own trials or from relabelled trials of any task."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents import MetaBatch
from agents.types import TASK_NUMBERS
from encoders import Context
from pearl.config.reading import ConfigError
from pearl.config.training import TrainingConfig
from pearl.replay.transitions import TaskReplay
from pearl.tasks import Task, TaskDistribution
from pearl.tasks.distribution import relabels
from pearl.tasks.numbers import standardised_numbers
from pearl.tasks.transforms.drifting import drifts

TASKS_TRIED = 4
"""Number of tasks for which relabelling looks for a rewarded context, per task of the meta-batch"""


class MetaSampler:
    """Draws meta-batches from a replay.

    Args:
        replay: the collected transitions, by task.
        distribution: computes relabelled rewards if ``training.relabelling.candidates`` is positive.
        tasks: the training tasks.
        training: the run's settings in the section ``training``.
        rng: the source of every draw, on the replay's device.
        early_context: whether meta-batches have an early context.
        task_numbers: whether meta-batches have numbers that describe their tasks.

    Raises:
        ConfigError: relabelling is on, and the family cannot compute its rewards; or numbers are wanted of tasks that
            drift, or of parameters that have none.
    """

    def __init__(
        self,
        replay: TaskReplay,
        distribution: TaskDistribution,
        tasks: Sequence[Task],
        training: TrainingConfig,
        rng: torch.Generator,
        *,
        early_context: bool = False,
        task_numbers: bool = False,
    ) -> None:
        self._replay = replay
        self._distribution = distribution
        self._tasks = tasks
        self._training = training
        self._rng = rng
        self._has_early_context = early_context
        self._n_candidates = training.relabelling.candidates or 0
        if self._n_candidates > 0 and not relabels(distribution):
            raise ConfigError(
                "training.relabelling.candidates needs a family that can compute its rewards "
                "(TaskDistribution.relabel); this one cannot. Set it to 0."
            )
        if task_numbers and drifts(distribution):
            raise ConfigError(
                "agent.auxiliary.task_inference_weight needs tasks that stay as they are; these drift, and no one "
                "description fits every moment. Set it to 0."
            )
        self._task_numbers = _described(tasks).to(replay.device) if task_numbers else None

    def sample(self) -> MetaBatch:
        """Draw one gradient step's meta-batch."""
        return self._own_trials() if self._n_candidates == 0 else self._relabelled_trials()

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether all further meta-batches have the same shapes and are drawn without synchronising with the host."""
        return self._n_candidates == 0 and self._replay.every_task_has_transitions

    def _own_trials(self) -> MetaBatch:
        training, device = self._training, self._replay.device
        filled = self._filled()
        task_ids = torch.randperm(len(filled), generator=self._rng, device=device)[: training.meta_batch]
        if len(filled) < len(self._tasks):
            task_ids = filled.to(device)[task_ids]
        batch = self._replay.sample(
            task_ids,
            training.rows_per_task(len(task_ids)),
            training.context.longest,
            self._rng,
            recent=training.context.recent_transitions,
            random_length=training.context.random_length,
        )
        return batch._replace(early_context=self._early_context(task_ids), task_numbers=self._numbers(task_ids))

    def _relabelled_trials(self) -> MetaBatch:
        """Give trials of any task the rewards of other tasks (hindsight relabelling, Wan et al. 2021).

        If rewards are rare, most contexts contain no information, and an uninformed z teaches the critics that goals do
        not matter. Each context therefore ends at a transition that its task rewards: its reward differs from the
        commonest one. Tasks that reward none of the candidates are used only if there are not enough others.
        """
        training, replay, rng = self._training, self._replay, self._rng
        filled = self._filled()
        task_ids = torch.randperm(len(self._tasks), generator=rng)[: TASKS_TRIED * training.meta_batch]
        owners = filled[torch.randint(len(filled), (self._n_candidates,), generator=rng)]
        ends = replay.draw_rows(owners, 1, rng, recent=training.context.recent_transitions)
        drawn = replay.rows(owners, ends)
        fields = (drawn.observation, drawn.action, drawn.next_observation)
        reward, _ = self._relabel(task_ids, *(field.transpose(0, 1).expand(len(task_ids), -1, -1) for field in fields))
        rewarded = reward != reward.median()
        informed = rewarded.any(1).sort(descending=True, stable=True).indices[: training.meta_batch]
        preference = rewarded[informed] + torch.rand(len(informed), len(owners), generator=rng, dtype=torch.float32)
        chosen, task_ids = preference.argmax(1), task_ids[informed]

        context, transitions, *_ = replay.sample(
            owners[chosen],
            training.rows_per_task(len(chosen)),
            training.relabelling.rewarded_context,
            rng,
            context_ends=ends[chosen, 0],
        )
        _, training_reward = self._relabel(
            task_ids, transitions.observation, transitions.action, transitions.next_observation
        )
        early = self._early_context(filled[torch.randint(len(filled), (len(task_ids),), generator=rng)])
        return MetaBatch(
            context=self._relabel_context(task_ids, context),
            transitions=transitions._replace(reward=training_reward),
            early_context=None if early is None else self._relabel_context(task_ids, early),
            task_numbers=self._numbers(task_ids),
        )

    def _numbers(self, task_ids: Tensor) -> Tensor | None:
        return None if self._task_numbers is None else self._task_numbers[task_ids]

    def _early_context(self, task_ids: Tensor) -> Context | None:
        if not self._has_early_context:
            return None
        training = self._training
        ends = self._replay.draw_rows(task_ids, 1, self._rng, recent=training.context.recent_transitions)[:, 0]
        return self._replay.context(task_ids, ends, training.context.longest)

    def _filled(self) -> Tensor:
        return torch.nonzero(self._replay.n_added).squeeze(1)

    def _relabel_context(self, task_ids: Tensor, context: Context) -> Context:
        reward, _ = self._relabel(task_ids, context.observation, context.action, context.next_observation)
        return context._replace(reward=reward)

    def _relabel(
        self, task_ids: Tensor, observation: Tensor, action: Tensor, next_observation: Tensor
    ) -> tuple[Tensor, Tensor]:
        tasks = [self._tasks[index] for index in task_ids.tolist()]
        rewards = self._distribution.relabel(tasks, observation.numpy(), action.numpy(), next_observation.numpy())
        shape = tuple(observation.shape[:2])
        if rewards is None or any(np.shape(part) != shape for part in rewards[:2]):
            found = "None" if rewards is None else f"shapes {', '.join(str(np.shape(part)) for part in rewards[:2])}"
            raise ConfigError(
                f"TaskDistribution.relabel must return the reward and the training reward of {len(tasks)} tasks, each "
                f"{shape}; it returned {found}. Set training.relabelling.candidates to 0 if it cannot compute them."
            )
        reward, training_reward = (torch.from_numpy(np.array(part, np.float32)) for part in rewards[:2])
        return reward, training_reward


def _described(tasks: Sequence[Task]) -> Tensor:
    try:
        return torch.from_numpy(standardised_numbers(tasks, TASK_NUMBERS))
    except ValueError as error:
        raise ConfigError(f"{error} Or set agent.auxiliary.task_inference_weight to 0.") from error
