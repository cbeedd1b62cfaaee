"""Adaptation of a model to a task: as a policy, or step by step."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents import PEARLAgent
from pearl.adaptation.fitting import fit_detectors
from pearl.adaptation.policy import AdaptedPolicy, adapt, infers_task, kind_of
from pearl.adaptation.session import Session
from pearl.adaptation.start import as_deployed, start_session
from pearl.model import arguments
from pearl.model.saving import SavedModel
from pearl.tasks.arguments import description


class AdaptingModel(SavedModel):
    """Base class: adaptation to one task, without a gradient where the algorithm needs none."""

    def adapt(
        self,
        env: gym.Env[Any, Any],
        episodes: int = 2,
        *,
        exploration_episodes: int | None = None,
        seed: int | None = None,
        follow: bool = True,
    ) -> AdaptedPolicy:
        """Play ``episodes`` episodes of a new task and return the adapted policy.

        Only algorithms that adapt by gradient steps take any (``agent.gradient_steps_per_trial``).

        Args:
            env: the environment of one task, with the spaces of training. It stays open.
            episodes: episodes to play.
            exploration_episodes: episodes in which z and actions are sampled; later ones are deterministic. All
                episodes if None.
            seed: seed of the draws; drawn from the model's generator if None.
            follow: whether z follows the posterior after each step, so that evidence counts in the same episode; False
                keeps z for an episode, as in the paper. Agents without z ignore it.

        Raises:
            TypeError: ``env`` is not the environment of one task.
            ValueError: the spaces differ, a number is out of range, or a value is not finite.
        """
        arguments.check_env(env, self.family, self.observation_space, self.action_space)
        remedy = " model.session() adapts step by step."
        episodes = arguments.whole_number(episodes, "episodes", least=1, remedy=remedy)
        exploring = arguments.whole_number(exploration_episodes, "exploration_episodes", default=episodes)
        seed = arguments.acting_seed(seed, self._rng)
        return adapt(
            as_deployed(self.agent, follow=follow),
            env,
            episodes=episodes,
            horizon=self.horizon,
            seed=seed,
            exploration_episodes=exploring,
        )

    def session(
        self,
        *,
        seed: int | None = None,
        follow: bool = True,
        forgetting: float | None = None,
        detect_changes: bool = False,
    ) -> Session:
        """Start an adaptation that the caller drives one step at a time; raises as ``start_session`` does.

        Args:
            seed: seed of the draws; drawn from the model's generator if None.
            follow: whether z follows the posterior after each step, so that evidence counts in the same episode; False
                keeps z for an episode, as in the paper. Agents without z ignore it.
            forgetting: share of the evidence that is kept in each step, for tasks that change; see ``start_session``.
            detect_changes: whether to notice when the task changes, and then to infer the new one from new transitions
                alone; see ``WatchfulSession``. ``session.changes`` lists the changes.

        Raises:
            ValueError: changes shall be noticed, and ``fit_change_detector`` was not called after training.
        """
        if not isinstance(detect_changes, bool | np.bool_):
            raise TypeError(f"detect_changes must be True or False, got {description(detect_changes)}.")
        if detect_changes:
            self._check_belief()
        if detect_changes and self.change_detector is None:
            raise ValueError(
                "This model has not learnt to notice changes. Call model.fit_change_detector() once after training; "
                "model.save keeps what it learns."
            )
        seed = arguments.acting_seed(seed, self._rng)
        return start_session(
            self.agent,
            torch.Generator().manual_seed(seed),
            follow=follow,
            forgetting=forgetting,
            detector=self.change_detector if detect_changes else None,
            familiarity=self.familiarity,
        )

    def fit_change_detector(self, *, seed: int | None = None) -> None:
        """Learn to notice changes of the task, for ``session(detect_changes=True)``, and unfamiliar tasks.

        The agent plays training tasks, up to 200 of them and five episodes of each trial: about 40 000 environment
        steps or fewer, but 30 trials at least. A classifier learns from them, and the beliefs of the trials are kept,
        for ``session().unfamiliarity``. The agent does not change. Training it further discards both.

        Args:
            seed: seed of the draws; drawn from the model's generator if None.

        Raises:
            TypeError: the agent infers no task.
            ValueError: there is one training task only.
        """
        agent = self._check_belief()
        settings = self.config.training
        self.change_detector, self.familiarity = fit_detectors(
            agent,
            self.task_distribution,
            self.train_tasks,
            horizon=self.horizon,
            seed=arguments.acting_seed(seed, self._rng),
            workers=settings.workers,
            worker_timeout_s=settings.worker_timeout_s,
        )

    def _check_belief(self) -> PEARLAgent:
        """Return the agent if it infers the task; a TypeError otherwise."""
        if not infers_task(self.agent):
            raise TypeError(f"Only PEARL notices changes of the task; this agent is a {kind_of(self.agent)}.")
        return self.agent
