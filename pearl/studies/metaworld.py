"""A trained PEARL model as the ``MetaLearningAgent`` of Metaworld's own evaluation.

::

    from metaworld import make_ml_envs
    from metaworld.evaluation import metalearning_evaluation

    envs = make_ml_envs("reach-v3", seed=0, split="test", task_select="pseudorandom", meta_batch_size=10)
    success, mean_return, success_by_environment = metalearning_evaluation(MetaworldAgent(model), envs)

In that evaluation an episode ends at success, and only the first episodes to end count in each environment. Tasks that
are solved fast therefore count more often: the evaluation can report 1.00 for an agent that solves few of the goals.
``model.evaluate()`` plays the same episodes of every task. Metaworld's episodes have 500 steps unless
``max_episode_steps`` says otherwise.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from agents import PEARLMemory, Transitions
from agents.finite import NonFiniteError
from pearl.model.meta_learner import PEARL


class MetaworldTimestep(Protocol):
    """Metaworld's ``Timestep``: one step of all environments."""

    @property
    def observation(self) -> NDArray[Any]:
        """(environment, observation_dim), before the step."""

    @property
    def action(self) -> NDArray[Any]:
        """(environment, action_dim)."""

    @property
    def reward(self) -> NDArray[Any]:
        """(environment,)."""

    @property
    def terminated(self) -> NDArray[Any]:
        """(environment,) bool."""

    @property
    def truncated(self) -> NDArray[Any]:
        """(environment,) bool."""


class MetaworldAgent:
    """Plays Metaworld's adaptation episodes with posterior samples, and its evaluation episodes with the mean.

    Each environment has its own belief, which starts from the prior at each ``init``. Every step that Metaworld reports
    updates the belief. Metaworld reports steps in adaptation only, not in evaluation.

    Args:
        model: the trained model.
        seed: seed of all draws.

    Raises:
        ValueError: the encoder reads the next observation, which Metaworld does not report.
    """

    def __init__(self, model: PEARL, *, seed: int = 0) -> None:
        if "next_observation" in model.config.encoder.context_fields:
            raise ValueError(
                "The model's encoder reads next_observation, and Metaworld's protocol reports none at an episode's "
                "end. Train one with encoder.context_fields [observation, action, reward], or use model.evaluate()."
            )
        self._agent = model.agent
        self._rng = torch.Generator().manual_seed(seed)
        self._memory: PEARLMemory | None = None

    @property
    def memory(self) -> PEARLMemory | None:
        """The agent's memory, one row per environment; None before the first step."""
        return self._memory

    def init(self) -> None:
        """Reset all beliefs to the prior for new tasks."""
        self._memory = None

    def adapt_action(self, observations: NDArray[Any]) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Choose actions (environment, action_dim) with each environment's sample of z, and return no extras.

        Args:
            observations: (environment, observation_dim).

        Raises:
            NonFiniteError: an observation or an action is NaN or infinite.
            ValueError: wrong shape.
        """
        return self._act(observations, deterministic=False), {}

    def step(self, timestep: MetaworldTimestep) -> None:
        """Fold a step of every environment into its belief; resample z at the end of an episode.

        Raises:
            NonFiniteError: an observation, a reward or the updated belief is NaN or infinite.
            ValueError: wrong shape.
        """
        observation = self._observations(timestep.observation)
        reward = np.asarray(timestep.reward, np.float32)
        _check_finite("reward", reward)
        transition = Transitions(
            observation=observation,
            action=torch.from_numpy(np.asarray(timestep.action, np.float32)),
            reward=torch.from_numpy(reward),
            # The encoder does not read it: Metaworld reports none.
            next_observation=observation,
            terminated=torch.from_numpy(np.asarray(timestep.terminated, np.float32)),
        )
        memory = self._memory_of(len(observation))
        ended = torch.from_numpy(np.logical_or(timestep.terminated, timestep.truncated))
        memory = self._agent.observe(memory, transition, torch.ones(len(observation), dtype=torch.bool))
        self._memory = self._agent.end_episode(memory, ended, self._rng)

    def adapt(self) -> None:
        """Do nothing: each step has updated the beliefs already, and no gradient is taken."""

    def eval_action(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Choose actions (environment, action_dim) with the posterior's mean and the policy's mean.

        Args:
            observations: (environment, observation_dim).

        Raises:
            NonFiniteError: an observation or an action is NaN or infinite.
            ValueError: wrong shape.
        """
        return self._act(observations, deterministic=True)

    def reset(self, env_mask: NDArray[np.bool_]) -> None:
        """Begin a new episode of the same task in each environment where ``env_mask`` (environment,) is True."""
        ended = torch.from_numpy(np.asarray(env_mask, np.bool_))
        self._memory = self._agent.end_episode(self._memory_of(len(ended)), ended, self._rng)

    def _act(self, observations: NDArray[Any], *, deterministic: bool) -> NDArray[np.float32]:
        rows = self._observations(observations)
        flags = torch.full((len(rows),), deterministic)
        choice = self._agent.act(rows, self._memory_of(len(rows)), flags, self._rng)
        action: NDArray[np.float32] = choice.action.numpy(force=True)
        _check_finite("actions", action)
        return action

    def _memory_of(self, n_environments: int) -> PEARLMemory:
        if self._memory is None:
            self._memory = self._agent.begin(n_environments, self._rng)
        if len(self._memory.z) != n_environments:
            raise ValueError(
                f"The trial began with {len(self._memory.z)} environments, now there are {n_environments}. "
                "Call init() when new tasks begin."
            )
        return self._memory

    def _observations(self, observations: NDArray[Any]) -> torch.Tensor:
        rows = np.asarray(observations, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._agent.observation_dim:
            raise ValueError(
                f"observations must have the shape (environment, {self._agent.observation_dim}), got {rows.shape}."
            )
        _check_finite("observations", rows)
        return torch.from_numpy(rows)


def _check_finite(name: str, values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteError(f"{name} must be finite, got {values}; the beliefs were left as they were.")
