"""Recurrent soft actor-critic: RL² off-policy, learnt from kept trials (Ni et al. 2022)."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from agents.base import initial_weights
from agents.config import SACConfig
from agents.learning.soft_actor_critic import SoftActorCriticAgent
from agents.losses import actor_loss, critic_loss, trial_bellman_target
from agents.memory.sequence_models import EmbeddedGRU
from agents.memory.trial_memory import TrialMemory, TrialMemoryAgent
from agents.networks.features import make_features
from agents.types import ActionChoice, TrialBatch, check_trial_batch, episode_begins
from encoders import ConfigError


@dataclass(frozen=True, kw_only=True)
class RecurrentSACAgentConfig(SACConfig):
    """Settings of recurrent soft actor-critic."""

    memory_width: int = 128
    """Width of the actor's and of the critics' hidden state."""
    reward_scale: float = 1.0
    """Factor on rewards, as they are learnt from and as they are read."""
    value_ends_at_termination: bool = False
    """Whether the value ends where an episode terminates, as where to fall is to fail; where not, it goes on through
    all of a trial's episodes, to which a fall is a new start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_width < 1:
            raise ConfigError(f"agent.memory_width must be at least 1, got {self.memory_width}.")


class _Losses(NamedTuple):
    """Losses of one gradient step, with what its log needs beside them."""

    critic: Tensor
    """With the gradient to features, the critics' memory and the critics"""
    actor: Tensor
    """With the gradient to the actor's memory and the actor"""
    entropy: Tensor
    """(1, learnt step of any trial), detached"""
    q_mean: Tensor


class RecurrentSACAgent(TrialMemoryAgent, SoftActorCriticAgent[TrialMemory]):
    """Recurrent soft actor-critic over trials (Ni et al. 2022, arXiv 2110.05038). A ``MetaAgent``.

    Actor and critics have a recurrent memory each, which their own loss alone teaches: of a shared one the critics'
    gradient would leave the actor little. The critics share theirs, and their targets have one that follows it. The
    trial is one sequence: its value goes on from episode to episode, unless a setting ends it where the MDP terminated,
    and ends with it. What is remembered is as in ``TrialMemoryAgent``, by the actor's memory.

    Args:
        observation_space: vectors, what Gymnasium can flatten to them, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        config: the agent's settings.
        rng: draws the initial weights.

    Raises:
        TypeError: a space is of a kind that is not supported.
        ValueError: an action space without finite bounds, or with too many actions; settings that do not fit the
            observations.
    """

    config: RecurrentSACAgentConfig

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        config: RecurrentSACAgentConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(observation_space, action_space, config)
        with initial_weights(rng):
            self.features = make_features(observation_space, config)
            self.memory = EmbeddedGRU(self.transition_width, config.memory_width)
            self.actor = self.actions.make_actor(self.features.dim, config.memory_width, config)
            self.critic_memory = EmbeddedGRU(self.transition_width, config.memory_width)
            self.critics = self.actions.make_critics(self.features.dim, config.memory_width, config)
        self.target_critic_memory = deepcopy(self.critic_memory).requires_grad_(False)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        self.optimizer = self.make_optimizer(config.learning_rate)

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: TrialMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on what is remembered; where ``deterministic`` (task,) the policy's mode."""
        policy = self.actor(self.features(observation), self.memory.output(memory.state))
        return ActionChoice(self.actions.choose(policy, deterministic if deterministic.any() else None, rng))

    def update(self, batch: TrialBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one gradient step on trials, whoever played them.

        Every loss is evaluated at the same parameters, then one optimizer step moves them all and the targets follow.
        Losses are means over the steps that are learnt from.

        Args:
            batch: of several trials, whole or cut; the memory knows nothing before a row's first step.
            rng: draws the actions.

        Returns:
            Scalars for logging, detached: critic_loss, actor_loss, q_mean, temperature, entropy.
        """
        check_trial_batch(batch, self.observation_dim, self.action_dim)
        temperature = self.log_temperature.detach().exp()
        losses = self._losses(batch, temperature, rng)
        self.descend(
            losses.critic,
            (self.features, self.critic_memory, self.critics),
            losses.actor,
            (self.memory, self.actor),
            losses.entropy,
        )
        self.follow([self.target_critic_memory, self.target_critics], [self.critic_memory, self.critics])
        return {
            "critic_loss": losses.critic.detach(),
            "actor_loss": losses.actor.detach(),
            "q_mean": losses.q_mean,
            "temperature": temperature,
            "entropy": losses.entropy.mean(),
        }

    def _losses(self, batch: TrialBatch, temperature: Tensor, rng: torch.Generator) -> _Losses:
        """Return the losses at the present parameters."""

        def present(values: Tensor) -> Tensor:
            """Return the trials' steps without the padding, as one row: (1, step of any trial, …)."""
            return values[batch.mask].unsqueeze(0)

        observation, action = self.features(batch.observation), self.actions.encode(batch.action)
        begins = episode_begins(batch.ended).unsqueeze(-1).float()
        read = self.memory_inputs(observation, action, batch.reward, begins)
        steps, fixed = present(observation), present(observation).detach()
        learnt = batch.learnt[batch.mask]
        policy = self.actor(fixed, present(self.memory(read.detach())[:, :-1]))
        with torch.no_grad():
            target_remembered = present(self.target_critic_memory(read)[:, :-1])
            soft = self.actions.soft_value(policy, self.target_critics, fixed, target_remembered, temperature, rng)
            value = torch.zeros_like(batch.reward).masked_scatter(batch.mask, soft.value)
            reward = self.config.reward_scale * batch.training_reward
            ended = batch.terminated if self.config.value_ends_at_termination else None
            target = present(trial_bellman_target(reward, value, self.config.discount, ended=ended))
        remembered = present(self.critic_memory(read)[:, :-1])
        q = self.actions.q(self.critics, steps, present(action), remembered)
        policy_value, entropy = self.actions.soft_value(
            policy, self.critics, fixed, remembered.detach(), temperature, rng
        )
        q, target, policy_value, entropy = (of[..., learnt] for of in (q, target, policy_value, entropy.detach()))
        return _Losses(critic_loss(q, target), actor_loss(policy_value), entropy, q.detach().mean())
