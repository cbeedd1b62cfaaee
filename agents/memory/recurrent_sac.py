"""Recurrent soft actor-critic: RL² off-policy, from a replay of trials (Ni et al. 2022)."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from agents.base import initial_weights
from agents.config import SACConfig
from agents.learning.reward_inputs import make_reward_inputs
from agents.learning.soft_actor_critic import SoftActorCriticAgent
from agents.learning.value_scale import TargetScale, make_value_scale
from agents.losses import actor_loss, trial_bellman_target
from agents.memory.sequence_models import EmbeddedGRU
from agents.memory.trial_memory import TrialMemory, TrialMemoryAgent
from agents.networks.features import make_features
from agents.types import ActionChoice, TrialBatch, Trials, check_trial_batch, episode_begins
from encoders import ConfigError


@dataclass(frozen=True, kw_only=True)
class RecurrentSACAgentConfig(SACConfig):
    """Settings of recurrent soft actor-critic."""

    memory_width: int = 128
    """Width of the hidden states of the actor's and the critics' memories."""
    reward_scale: float | None = None
    """Factor on rewards, both in the losses of critics with scalar values and as input of the memories. None learns in
    running units instead: values less the mean of recent returns, over their standard deviation, by categorical
    critics; the memories then read standardised rewards."""
    value_ends_at_termination: bool = False
    """Whether the value ends where an episode terminates; for tasks where termination is a failure, such as a fall.
    False continues the value through all episodes of a trial."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_width < 1:
            raise ConfigError(f"agent.memory_width must be at least 1, got {self.memory_width}.")


class _Losses(NamedTuple):
    """Losses of one gradient step, and values for the log."""

    critic: Tensor
    """With the gradient to features, the critics' memory and the critics"""
    actor: Tensor
    """With the gradient to the actor's memory and the actor"""
    entropy: Tensor
    """(1, learnt steps of all trials), detached"""
    q_mean: Tensor


class RecurrentSACAgent(TrialMemoryAgent, SoftActorCriticAgent[TrialMemory]):
    """Recurrent soft actor-critic over trials (Ni et al. 2022, arXiv 2110.05038). A ``MetaAgent``.

    The actor and the critics have separate recurrent memories, each trained by its own loss; in a shared memory the
    critics' gradient would dominate the actor's. All critics share one memory, and the target critics share its slowly
    updated copy. The trial is one sequence: the value continues from episode to episode, unless a setting ends it where
    the MDP terminated. Acting uses the actor's memory, as in ``TrialMemoryAgent``.

    Args:
        observation_space: vectors, spaces that Gymnasium flattens to vectors, or uint8 images (``height_axis``).
        action_space: a bounded Box, or a finite set: Discrete, MultiDiscrete, MultiBinary.
        config: the agent's settings.
        rng: draws the initial weights.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds, or too many actions; the settings do not fit the
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
        self.value_scale = make_value_scale(config.reward_scale, TargetScale)
        self.reward_inputs = make_reward_inputs(config.reward_scale)
        with initial_weights(rng):
            self.features = make_features(observation_space, config)
            self.memory = EmbeddedGRU(self.transition_width, config.memory_width)
            self.actor = self.actions.make_actor(self.features.dim, config.memory_width, config)
            self.critic_memory = EmbeddedGRU(self.transition_width, config.memory_width)
            self.critics = self.actions.make_critics(self.features.dim, config.memory_width, config)
        self.target_critic_memory = deepcopy(self.critic_memory).requires_grad_(False)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        self.optimizer = self.make_optimizer(config.learning_rate)

    def see(self, trials: Trials) -> None:
        """Update the running statistics, if any: of observations, values and rewards."""
        super().see(self.value_sequences(trials))
        self.reward_inputs.see(trials)

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: TrialMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on the memory; where ``deterministic`` (task,), take the policy's mode."""
        policy = self.actor(self.features(observation), self.memory.output(memory.state))
        return ActionChoice(self.actions.choose(policy, deterministic, rng))

    def update(self, batch: TrialBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one gradient step on trials of any policy.

        All losses are evaluated at the same parameters. Then one optimizer step changes all parameters, and the targets
        follow. Losses are means over the steps in ``TrialBatch.learnt``.

        Args:
            batch: several trials, whole or cut; the memory is empty before a row's first step.
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
        """Return the losses at the current parameters."""

        def present(values: Tensor) -> Tensor:
            """Return the steps of all trials without padding, as one row: (1, steps of all trials, …)."""
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
            ended = batch.terminated & self.value_ends(batch.terminated, batch.mask)
            reward = self.value_scale.centred(batch.training_reward, ended, self.discount)
            target = present(trial_bellman_target(reward, value, self.discount, ended=ended))
        remembered = present(self.critic_memory(read)[:, :-1])
        critic, q = self.actions.critic_loss(self.critics, steps, present(action), remembered, target, learnt)
        policy_value, entropy = self.actions.soft_value(
            policy, self.critics, fixed, remembered.detach(), temperature, rng
        )
        policy_value, entropy = policy_value[:, learnt], entropy.detach()[:, learnt]
        return _Losses(critic, actor_loss(policy_value), entropy, q.detach().mean())
