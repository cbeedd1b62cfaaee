"""The policy for one task that an adapted agent gives."""

from typing import Any, TypeGuard, cast

import gymnasium as gym
import torch
from numpy.typing import NDArray
from torch.distributions import Normal

from agents import Deployable, PEARLAgent, PEARLMemory
from agents.memories import Rows, repeat
from agents.spaces import is_single
from pearl.adaptation.checked_values import chosen, observed
from pearl.collection.rollout import Trajectories, rollout
from pearl.tasks import own_time_limit
from pearl.tasks.vector_env import TaskVectorEnv


class AdaptedPolicy:
    """A policy for one task with the memory of a trial; it has the ``predict`` of stable-baselines3.

    Args:
        agent: the meta-trained agent.
        memory: the agent's memory after the trial, one row.
        rng: draws z, and actions unless deterministic.
        trial: the trajectories of the trial, if there are any.
    """

    def __init__(
        self, agent: Deployable[Any], memory: Rows, rng: torch.Generator, trial: Trajectories | None = None
    ) -> None:
        self.agent = agent
        self.memory = agent.fold(memory)
        self.trial = trial
        self._rng = rng

    @property
    def posterior(self) -> Normal:
        """q(z|c) given all transitions seen, mean and stddev (latent_dim,) each; a TypeError if the agent has no z."""
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
            observation: one observation of the observation space, or a batch of them.
            state: the state that the last call returned; it contains each row's z.
            episode_start: (row,) bool, whether a new episode begins, for which z is resampled.
            deterministic: act on the posterior mean with the policy mean.

        Returns:
            An action of the action space or a batch of them, and the state for the next call. The state is None if
            neither ``state`` nor ``episode_start`` is given: z then stays as after the trial.

        Raises:
            ValueError: the observation, or a part of it, has the wrong shape or is not finite.
            NonFiniteError: the action would not be finite.
        """
        space, single = self.agent.observation_space, is_single(self.agent.observation_space, observation)
        rows = observed(space, observation, single=single)
        memory = repeat(self.memory, len(rows)) if state is None else state
        if episode_start is not None:
            if state is None:  # Otherwise all rows and evaluations would use the same next sample of z.
                memory = self.agent.redraw(memory, self._rng)
            memory = self.agent.end_episode(memory, torch.as_tensor(episode_start, dtype=torch.bool), self._rng)
        flags = torch.full((len(rows),), deterministic)
        choice = self.agent.act(torch.from_numpy(rows), memory, flags, self._rng)
        action = chosen(self.agent.action_space, choice.action.numpy(force=True))
        return (action[0] if single else action), (None if state is None and episode_start is None else memory)


def adapt(
    agent: Deployable[Any],
    env: gym.Env[Any, Any],
    *,
    episodes: int,
    horizon: int,
    seed: int,
    exploration_episodes: int | None = None,
) -> AdaptedPolicy:
    """Play ``episodes`` episodes of ``env``, starting from the prior belief, and return the adapted policy.

    Args:
        agent: the meta-trained agent.
        env: one task's environment, with the spaces of training. It stays open.
        episodes: number of episodes to play.
        horizon: environment steps after which an episode is truncated, if ``env`` has no known time limit.
        seed: seed of every draw.
        exploration_episodes: number of episodes in which z and actions are sampled; later ones are deterministic. All
            episodes if None.

    Raises:
        ValueError: ``episodes`` is below 1, or a value is not finite.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}; model.session() adapts step by step.")
    # Also if env has a limit: a spec or an attribute may state it without enforcing it.
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


def infers_task(agent: object) -> TypeGuard[PEARLAgent]:
    """Return whether an agent has a posterior over a task variable that depends on the context."""
    return isinstance(agent, PEARLAgent) and agent.encoder.infers


def kind_of(agent: object) -> str:
    """Return the kind of an agent that infers no task, for errors."""
    return type(agent).__name__ + (" with a blind encoder" if isinstance(agent, PEARLAgent) else "")


@torch.no_grad()
def single_posterior(agent: Deployable[Any], memory: Rows) -> Normal:
    """Return the posterior of the only row of ``memory``, mean and stddev each (latent_dim,).

    Raises:
        TypeError: the agent infers no task variable.
    """
    if not infers_task(agent):
        raise TypeError(f"Only PEARL has a posterior over a task variable; this agent is a {kind_of(agent)}.")
    posterior = agent.posterior(cast(PEARLMemory, memory))
    return Normal(posterior.mean[0], posterior.stddev[0], validate_args=False)
