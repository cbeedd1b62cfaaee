"""Step-by-step adaptation in a user's own loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Normal

from agents import Deployable
from pearl.adaptation.checked_values import TransitionReader, chosen, flag, observed
from pearl.adaptation.familiarity import Familiarity
from pearl.adaptation.policy import AdaptedPolicy, single_posterior
from pearl.adaptation.steps import steps_of
from pearl.tasks.arguments import description


class Change(NamedTuple):
    """A change of the task that a session noticed; steps are transitions observed since the session began, from 0."""

    step: int
    """Step at which it was noticed"""
    began: int
    """First step that counts as the new task's"""


class Session:
    """Step-by-step adaptation in a user's own loop.

    Args:
        agent: the meta-trained agent.
        rng: draws z and actions.
        familiarity: beliefs of the training tasks, learnt for this agent; None without ``unfamiliarity``.
        kept: share of the evidence that the agent keeps in each step.
    """

    def __init__(
        self,
        agent: Deployable[Any],
        rng: torch.Generator,
        *,
        familiarity: Familiarity | None = None,
        kept: float = 1.0,
    ) -> None:
        self.agent = agent
        self._familiarity, self._kept, self._evidence = familiarity, kept, 0.0
        self._rng = rng
        self._rows = TransitionReader(agent.observation_space, agent.action_space)
        self._steps = steps_of(agent)
        self._own = self._steps.begin(rng)
        """The memory in the form of ``_steps``"""
        self._shown: tuple[Any, Any] | None = None

    @property
    def memory(self) -> Any:
        """The agent's memory, one row."""
        own, shown = self._own, self._shown
        if shown is None or shown[0] is not own:
            shown = self._shown = own, self._steps.to_agent(own)
        return shown[1]

    @property
    def posterior(self) -> Normal:
        """q(z|c) given all transitions observed, mean and stddev (latent_dim,) each; a TypeError if there is no z."""
        return single_posterior(self.agent, self.memory)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of the task noticed so far.

        Raises:
            ValueError: the session does not look for changes.
        """
        raise ValueError("This session does not look for changes: start it by model.session(detect_changes=True).")

    @property
    def unfamiliarity(self) -> float:
        """Unlikeness of this task to the training tasks, from 0 to 1: it exceeds 0.95 in 5 % of tasks like those.

        It is the share of training tasks whose belief, after as many transitions, lies nearer to that of another
        training task than this one's lies to any (``Familiarity``). It tells of differences that move the belief. With
        forgetting, the share is rougher: evidence that has faded is not quite the evidence of a trial's beginning.

        Raises:
            TypeError: the agent infers no task.
            ValueError: the model has not learnt which tasks are familiar.
            NonFiniteError: the posterior would not be finite.
        """
        posterior = self.posterior
        return self._known().unfamiliarity(posterior.mean, self._evidence)

    def interval(self, coverage: float = 0.9) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return bounds for where the posterior mean ends, (latent_dim,) each: what the agent does not know yet.

        The posterior's own spread is no such bound; it is often several times too small. In tasks like those of
        training, each dimension of the mean after a trial of two episodes lies within the bounds in ``coverage`` of
        cases (``Familiarity``).

        Args:
            coverage: share of tasks, above 0 and below 1.

        Raises:
            TypeError: the agent infers no task.
            ValueError: ``coverage`` is out of range, or too much for the number of training tasks; the session forgets,
                so that its belief never ends; the model has not learnt which tasks are familiar, or its encoder is
                deterministic.
            NonFiniteError: the posterior would not be finite.
        """
        if not isinstance(coverage, int | float | np.number) or not 0 < coverage < 1:
            raise ValueError(f"coverage must be a number above 0 and below 1, got {description(coverage)}.")
        if self._kept < 1:
            raise ValueError("A belief that forgets never ends: intervals need a session without forgetting.")
        posterior = self.posterior
        low, high = self._known().interval(posterior, self._evidence, float(coverage))
        return low.float().numpy(), high.float().numpy()

    def _known(self) -> Familiarity:
        if self._familiarity is None:
            raise ValueError(
                "This model has not learnt which tasks are familiar. Call model.fit_change_detector() once after "
                "training, before the session; model.save keeps what it learns."
            )
        return self._familiarity

    def act(self, observation: Any, deterministic: bool = False) -> NDArray[Any]:
        """Choose an action of the action space given z.

        Args:
            observation: an observation of the observation space.
            deterministic: act on the posterior mean with the policy mean; where z stays for an episode, it is the
                posterior at the episode's start.

        Raises:
            ValueError: the observation, or a part of it, has the wrong shape or is not finite.
            NonFiniteError: the action would not be finite.
        """
        row = observed(self.agent.observation_space, observation)
        found = self._steps.act(row, self._own, bool(deterministic), self._rng)
        action: NDArray[Any] = chosen(self.agent.action_space, found)[0]
        return action

    def observe(
        self,
        observation: Any,
        action: ArrayLike,
        reward: float,
        next_observation: Any,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Fold one transition into the belief; if it ends the episode, resample z.

        The transition may come from any policy, not only from ``act``. An error leaves the belief and the random state
        unchanged.

        Args:
            observation: an observation of the observation space, with numbers of any type.
            action: the action that the environment carried out.
            reward: one finite real number.
            next_observation: an observation of the observation space.
            terminated: whether the MDP ended: True or False, or 1 or 0.
            truncated: whether the episode was truncated.

        Raises:
            ValueError: a value has the wrong shape or type, is not in its space, or is not finite.
            NonFiniteError: the belief would not be finite.
        """
        terminal, cut = flag("terminated", terminated), flag("truncated", truncated)
        rows, ordinary = self._rows(observation, action, reward, next_observation)
        step = self._steps.read(rows, terminal)
        memory = self._steps.observe(self._own, step)
        if not ordinary:  # The belief may overflow: check it now, and the start of the next episode with it.
            memory = self._steps.fold(memory)
            self._steps.end_episode(memory, torch.Generator())
        self._keep(memory, step, over=terminal or cut)

    def start_anew(self) -> None:
        """Return the belief to the prior: the task is a new one."""
        self._own, self._evidence = self._steps.begin(self._rng), 0.0

    def policy(self) -> AdaptedPolicy:
        """Return the policy given the transitions so far; later ones do not change it."""
        return AdaptedPolicy(self.agent, self.memory, self._rng)

    def _keep(self, memory: Any, step: Any, *, over: bool) -> None:
        """Replace the memory by the one after the transition ``step``, which may end the episode."""
        self._own = self._after_episode(memory) if over else memory
        self._evidence = self._kept * self._evidence + 1.0

    def _after_episode(self, memory: Any) -> Any:
        """Return the memory at the start of the next episode."""
        with self._draws_kept():
            return self._steps.end_episode(memory, self._rng)

    @contextmanager
    def _draws_kept(self) -> Iterator[None]:
        """Restore the random state if an exception is raised inside."""
        draws = self._rng.get_state()
        try:
            yield
        except BaseException:
            self._rng.set_state(draws)
            raise
