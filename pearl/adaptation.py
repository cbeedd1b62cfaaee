"""Zero-gradient adaptation: a belief grows over a trial, and a policy is read from it."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Normal

from agents import PEARLAgent, PEARLMemory, Transitions
from pearl.rollout import NonFiniteError, Trajectories, rollout


class AdaptedPolicy:
    """A policy for one task, fixed to what a trial has taught; speaks stable-baselines3's ``predict``.

    Args:
        agent: the meta-trained agent.
        memory: what the trial left, one row.
        rng: draws z and actions where not deterministic.
        trial: the trajectories of the trial, where the policy comes from one.
    """

    def __init__(
        self, agent: PEARLAgent, memory: PEARLMemory, rng: torch.Generator, trial: Trajectories | None = None
    ) -> None:
        self.agent = agent
        self.memory = memory
        self.trial = trial
        self._rng = rng

    @property
    def posterior(self) -> Normal:
        """q(z|c) over everything seen, mean and stddev each (latent_dim,)."""
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
            observation: (observation_dim,) or (row, observation_dim).
            state: what the last call returned; carries each row's z.
            episode_start: (row,) bool, where a new episode begins and z is drawn anew.
            deterministic: act on the posterior mean with the policy mean.

        Returns:
            Actions of shape (action_dim,) or (row, action_dim), and the state for the next call (None where
            neither ``state`` nor ``episode_start`` is given: z then stays as the trial left it).

        Raises:
            ValueError: the observation has the wrong shape or is not finite.
        """
        rows, single = observation_rows(observation, self.agent.observation_dim)
        memory = repeat(self.memory, len(rows)) if state is None else cast(PEARLMemory, state)
        if episode_start is not None:
            if state is None:  # Rows, and evaluations, must not all play the trial's next sample.
                memory = memory._replace(draws=self.agent.begin(len(rows), self._rng).draws)
            memory = self.agent.end_episode(memory, torch.as_tensor(episode_start, dtype=torch.bool), self._rng)
        flags = torch.full((len(rows),), deterministic)
        action = self.agent.act(torch.from_numpy(rows), memory, flags, self._rng).action.numpy(force=True)
        return (action[0] if single else action), (None if state is None and episode_start is None else memory)


class Session:
    """Adaptation one step at a time, for a loop that the user owns.

    Args:
        agent: the meta-trained agent.
        rng: draws z and actions.
    """

    def __init__(self, agent: PEARLAgent, rng: torch.Generator) -> None:
        self.agent = agent
        self._rng = rng
        self.memory = agent.begin(1, rng)

    @property
    def posterior(self) -> Normal:
        """q(z|c) over everything observed, mean and stddev each (latent_dim,)."""
        return single_posterior(self.agent, self.memory)

    def act(self, observation: ArrayLike, deterministic: bool = False) -> NDArray[Any]:
        """Choose an action (action_dim,) for an observation (observation_dim,) on the episode's z.

        Args:
            observation: (observation_dim,).
            deterministic: act on the posterior mean at the episode's start, with the policy mean.

        Raises:
            ValueError: the observation has the wrong shape or is not finite.
        """
        row = _row("observation", observation, self.agent.observation_dim, single=True)
        choice = self.agent.act(torch.from_numpy(row), self.memory, torch.full((1,), deterministic), self._rng)
        return choice.action[0].numpy(force=True)

    def observe(
        self,
        observation: ArrayLike,
        action: ArrayLike,
        reward: float,
        next_observation: ArrayLike,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Fold one transition into the belief; where the episode ends with it, z is drawn anew.

        The transition may come from any policy, not only from ``act``.

        Raises:
            ValueError: a value has the wrong shape or is not finite; the belief stays as it was.
        """
        transition = Transitions(
            observation=torch.from_numpy(_row("observation", observation, self.agent.observation_dim, single=True)),
            action=torch.from_numpy(_row("action", action, self.agent.action_dim, single=True)),
            reward=torch.from_numpy(_row("reward", [reward], 1)[0]),
            next_observation=torch.from_numpy(
                _row("next_observation", next_observation, self.agent.observation_dim, single=True)
            ),
            terminated=torch.tensor([float(terminated)]),
        )
        one = torch.ones(1, dtype=torch.bool)
        self.memory = self.agent.observe(self.memory, transition, one)
        if terminated or truncated:
            self.memory = self.agent.end_episode(self.memory, one, self._rng)

    def policy(self) -> AdaptedPolicy:
        """Return the policy for what was observed so far; later observations do not change it."""
        return AdaptedPolicy(self.agent, self.memory, self._rng)


def adapt(
    agent: PEARLAgent,
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
        horizon: environment steps after which an episode is cut where ``env`` has no time limit of its own.
        seed: of every draw.
        exploration_episodes: episodes in which z and actions are sampled; the later ones are deterministic. All
            where None.

    Raises:
        ValueError: no episodes, or a value that is not finite.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}; model.session() adapts step by step.")
    if env.spec is None or env.spec.max_episode_steps is None:
        env = gym.wrappers.TimeLimit(env, horizon)
    envs = SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.DISABLED)
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


@torch.no_grad()
def single_posterior(agent: PEARLAgent, memory: PEARLMemory) -> Normal:
    """Return the posterior of the only row of ``memory``, mean and stddev each (latent_dim,)."""
    posterior = agent.posterior(memory)
    return Normal(posterior.mean[0], posterior.stddev[0], validate_args=False)


def repeat(memory: Any, rows: int) -> Any:
    """Repeat a one-row memory (tensors, nested tuples of them) to ``rows`` rows."""
    if isinstance(memory, Tensor):
        return memory.expand(rows, *memory.shape[1:])
    return type(memory)(*(repeat(part, rows) for part in memory))


def observation_rows(observation: Any, width: int) -> tuple[NDArray[np.float32], bool]:
    """Return observations as float32 (row, width), and whether a single one was given.

    Raises:
        ValueError: wrong shape, or a value that is not finite.
    """
    array = np.asarray(observation, np.float32)
    single = array.ndim == 1
    return _row("observation", array, width), single


def _row(name: str, value: Any, width: int, *, single: bool = False) -> NDArray[np.float32]:
    array = np.atleast_2d(np.asarray(value, np.float32))
    if array.ndim != 2 or array.shape[1] != width or (single and len(array) != 1):
        accepted = f"({width},)" if single else f"({width},) or (row, {width})"
        raise ValueError(f"{name} must have the shape {accepted}, got {np.shape(value)}.")
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} must be finite, got {value}; the belief was left as it was.")
    return array
