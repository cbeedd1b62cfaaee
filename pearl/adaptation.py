"""Adaptation: what an agent knows of a task grows over a trial, and a policy is read from it."""

from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Normal

from agents import Deployable, PEARLAgent, Transitions
from agents.memories import repeat
from agents.spaces import action_rows, check_action, env_actions, is_single, observation_row, observation_rows
from pearl.rollout import NonFiniteError, Trajectories, is_finite, rollout
from pearl.tasks import own_time_limit
from pearl.tasks.vector_env import TaskVectorEnv

_ONE_FALSE, _ONE_TRUE = torch.tensor([False]), torch.tensor([True])
_ZERO, _ONE = torch.zeros(1), torch.ones(1)


class AdaptedPolicy:
    """A policy for one task, fixed to what a trial has taught; speaks stable-baselines3's ``predict``.

    Args:
        agent: the meta-trained agent.
        memory: what the trial left, one row.
        rng: draws z and actions where not deterministic.
        trial: the trajectories of the trial, where the policy comes from one.
    """

    def __init__(
        self, agent: Deployable[Any], memory: Any, rng: torch.Generator, trial: Trajectories | None = None
    ) -> None:
        self.agent = agent
        self.memory = agent.read(memory)
        self.trial = trial
        self._rng = rng

    @property
    def posterior(self) -> Normal:
        """q(z|c) over everything seen, mean and stddev each (latent_dim,); a TypeError where the agent has no z."""
        return single_posterior(self.agent, self.memory)

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[Any, ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[Any, ...] | None]:
        """Choose actions as stable-baselines3 policies do; the belief does not change.

        Args:
            observation: of the observation space, or a batch of them.
            state: what the last call returned; carries each row's z.
            episode_start: (row,) bool, where a new episode begins and z is drawn anew.
            deterministic: act on the posterior mean with the policy mean.

        Returns:
            An action of the action space or a batch of them, and the state for the next call (None where
            neither ``state`` nor ``episode_start`` is given: z then stays as the trial left it).

        Raises:
            ValueError: the observation has the wrong shape or is not finite.
        """
        space, single = self.agent.observation_space, is_single(self.agent.observation_space, observation)
        rows = _observations(space, observation, single=single)
        memory = repeat(self.memory, len(rows)) if state is None else state
        if episode_start is not None:
            if state is None:  # Rows, and evaluations, must not all play the trial's next sample.
                memory = self.agent.redraw(memory, self._rng)
            memory = self.agent.end_episode(memory, torch.as_tensor(episode_start, dtype=torch.bool), self._rng)
        flags = torch.full((len(rows),), deterministic)
        choice = self.agent.act(torch.from_numpy(rows), memory, flags, self._rng)
        action = env_actions(self.agent.action_space, choice.action.numpy(force=True))
        return (action[0] if single else action), (None if state is None and episode_start is None else memory)


class Session:
    """Adaptation one step at a time, for a loop that the user owns.

    Args:
        agent: the meta-trained agent.
        rng: draws z and actions.
    """

    def __init__(self, agent: Deployable[Any], rng: torch.Generator) -> None:
        self.agent = agent
        self._rng = rng
        self.memory = agent.begin(1, rng)

    @property
    def posterior(self) -> Normal:
        """q(z|c) over everything observed, mean and stddev each (latent_dim,); a TypeError where the agent has no z."""
        return single_posterior(self.agent, self.memory)

    def act(self, observation: Any, deterministic: bool = False) -> NDArray[Any]:
        """Choose an action of the action space on the episode's z.

        Args:
            observation: of the observation space.
            deterministic: act on the posterior mean at the episode's start, with the policy mean.

        Raises:
            ValueError: the observation has the wrong shape or is not finite.
        """
        row = _observations(self.agent.observation_space, observation, single=True)
        flag = _ONE_TRUE if deterministic else _ONE_FALSE
        choice = self.agent.act(torch.from_numpy(row), self.memory, flag, self._rng)
        action: NDArray[Any] = env_actions(self.agent.action_space, choice.action.numpy(force=True))[0]
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
        """Fold one transition into the belief; where the episode ends with it, z is drawn anew.

        The transition may come from any policy, not only from ``act``.

        Raises:
            ValueError: a value has the wrong shape or is not finite; the belief stays as it was.
        """
        space, action_space = self.agent.observation_space, self.agent.action_space
        check_action(action_space, action)
        rows = (
            observation_row(space, observation),
            action_rows(action_space, np.array(action)[None]),
            np.array([reward], np.float32),
            observation_row(space, next_observation, "next_observation"),
        )
        if not is_finite(*rows):  # all at once takes half as long
            for name, row in zip(Transitions._fields, rows, strict=False):
                _finite(name, row)
        before, chosen, earned, after = map(torch.from_numpy, rows)
        transition = Transitions(before, chosen, earned, after, _ONE if terminated else _ZERO)
        self.memory = self.agent.observe(self.memory, transition, _ONE_TRUE)
        if terminated or truncated:
            self.memory = self.agent.end_episode(self.memory, _ONE_TRUE, self._rng)

    def policy(self) -> AdaptedPolicy:
        """Return the policy for what was observed so far; later observations do not change it."""
        return AdaptedPolicy(self.agent, self.memory, self._rng)


def adapt(
    agent: Deployable[Any],
    env: gym.Env[Any, Any],
    *,
    episodes: int,
    horizon: int,
    seed: int,
    exploration_episodes: int | None = None,
) -> AdaptedPolicy:
    """Play ``episodes`` episodes of ``env``, growing a belief from the prior, and return the policy for it.

    Args:
        agent: the meta-trained agent.
        env: one task's environment; spaces as in training. It is left open.
        episodes: episodes to play.
        horizon: environment steps after which an episode is cut where nothing tells ``env``'s own time limit.
        seed: of every draw.
        exploration_episodes: episodes in which z and actions are sampled; the later ones are deterministic. All
            where None.

    Raises:
        ValueError: no episodes, or a value that is not finite.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}; model.session() adapts step by step.")
    # Around one that has a limit too: what a spec or an attribute says, nothing might keep.
    env = gym.wrappers.TimeLimit(env, own_time_limit(env) or horizon)
    envs = TaskVectorEnv(lambda _: env, ["the one to adapt to"], caught=())
    rng = torch.Generator().manual_seed(seed)
    trial, memory = rollout(
        envs,
        agent,
        agent.begin(1, rng),
        episodes=episodes,
        seed=seed,
        rng=rng,
        deterministic_from=exploration_episodes,
    )
    return AdaptedPolicy(agent, memory, rng, trial)


def infers_task(agent: Any) -> TypeGuard[PEARLAgent]:
    """Whether an agent has a posterior over a task variable that depends on what it saw."""
    return isinstance(agent, PEARLAgent) and agent.encoder.infers


@torch.no_grad()
def single_posterior(agent: Deployable[Any], memory: Any) -> Normal:
    """Return the posterior of the only row of ``memory``, mean and stddev each (latent_dim,).

    Raises:
        TypeError: the agent infers no task variable.
    """
    if not infers_task(agent):
        kind = type(agent).__name__ + (" with a blind encoder" if isinstance(agent, PEARLAgent) else "")
        raise TypeError(f"Only PEARL has a posterior over a task variable; this agent is a {kind}.")
    posterior = agent.posterior(memory)
    return Normal(posterior.mean[0], posterior.stddev[0], validate_args=False)


def _observations(space: gym.Space[Any], observation: Any, *, single: bool, name: str = "observation") -> NDArray[Any]:
    """Return one observation, or a batch of them, as rows (row, observation_dim).

    Raises:
        ValueError: wrong shape, or a value that is not finite.
    """
    if single:
        return _finite(name, observation_row(space, observation, name))
    if isinstance(space, gym.spaces.Box) and np.shape(observation)[1:] != space.shape:
        raise ValueError(
            f"{name} must have the shape {space.shape} or (row, …) with that of each, got {np.shape(observation)}."
        )
    return _finite(name, observation_rows(space, observation))


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if not is_finite(values):
        raise NonFiniteError(f"{name} must be finite in float32, got {values} there; the belief was left as it was.")
    return values
