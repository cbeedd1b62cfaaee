"""A policy for one task, read from what a trial has taught."""

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
    """A policy for one task, fixed to what a trial has taught; speaks stable-baselines3's ``predict``.

    Args:
        agent: the meta-trained agent.
        memory: what the trial left, one row.
        rng: draws z and actions where not deterministic.
        trial: the trajectories of the trial, where the policy comes from one.
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
            ValueError: the observation, or a part of it, has the wrong shape or is not finite.
            NonFiniteError: the action would not be finite.
        """
        space, single = self.agent.observation_space, is_single(self.agent.observation_space, observation)
        rows = observed(space, observation, single=single)
        memory = repeat(self.memory, len(rows)) if state is None else state
        if episode_start is not None:
            if state is None:  # Rows, and evaluations, must not all play the trial's next sample.
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
    # Also where env has a limit: a spec or an attribute tells it, but nothing may enforce it.
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
    """Whether an agent has a posterior over a task variable that depends on what it saw."""
    return isinstance(agent, PEARLAgent) and agent.encoder.infers


@torch.no_grad()
def single_posterior(agent: Deployable[Any], memory: Rows) -> Normal:
    """Return the posterior of the only row of ``memory``, mean and stddev each (latent_dim,).

    Raises:
        TypeError: the agent infers no task variable.
    """
    if not infers_task(agent):
        kind = type(agent).__name__ + (" with a blind encoder" if isinstance(agent, PEARLAgent) else "")
        raise TypeError(f"Only PEARL has a posterior over a task variable; this agent is a {kind}.")
    posterior = agent.posterior(cast(PEARLMemory, memory))
    return Normal(posterior.mean[0], posterior.stddev[0], validate_args=False)
