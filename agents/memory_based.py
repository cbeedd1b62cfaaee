"""Learning to learn by memory: a sequence model reads the trial, a policy reads the model (Duan et al. 2016)."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.memories import where_rows
from agents.on_policy import OnPolicyAgent, Policy, choose
from agents.ppo import (
    PPOConfig,
    clipped_surrogate,
    generalised_advantages,
    gradient_steps,
    masked_mean,
    standardised,
)
from agents.sequence_models import SequenceModel
from agents.types import ActionChoice, Transitions, Trials, check_transitions, episode_begins
from encoders import mlp


class TrialMemory(NamedTuple):
    """What a memory-based agent knows of the tasks it is acting in."""

    state: Any
    """The sequence model's, a row per task"""
    begins: Tensor
    """(task, 1), 1.0 where an episode is about to begin"""


class MemoryAgent(OnPolicyAgent):
    """The trial is one long episode, and what is learnt within it is in the memory (Duan et al. 2016). A ``MetaAgent``.

    The memory outlasts episodes and is new for each trial. It reads each transition (observation, action, reward,
    whether an episode began with it); the policy reads the memory and the present observation. So in an episode's first
    step, unlike Duan et al.'s, it has but the observation to tell it that another episode ended. Trained by proximal
    policy optimisation over whole trials.
    """

    config: PPOConfig

    def make_networks(self) -> None:
        """Build the memory, and the policy and the value that read it."""
        self.memory = self.make_memory(self.features.dim + self.actions.encoded_width + 2)
        read = self.features.dim + self.memory.width
        self.policy = Policy(self.actions, read, self.config.hidden_sizes)
        self.value = mlp(read, self.config.hidden_sizes, 1)

    @abstractmethod
    def make_memory(self, input_dim: int) -> SequenceModel:
        """Build the sequence model for the width of a transition."""

    @torch.no_grad()
    def begin(self, n_tasks: int, rng: torch.Generator) -> TrialMemory:
        """Start ``n_tasks`` trials: nothing is remembered."""
        return TrialMemory(self.memory.begin(n_tasks), torch.ones(n_tasks, 1))

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: TrialMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on what is remembered; where ``deterministic`` the likeliest action.

        The choice carries along the sample as drawn, its log-probability and the value of the step's beginning.
        """
        read = torch.cat([self.features(observation), self.memory.read(memory.state)], dim=-1)
        policy = self.policy(read)
        sample = choose(policy, deterministic, rng)
        extras = {"sample": sample, "log_prob": policy.log_prob(sample), "value": self._value(read)}
        return ActionChoice(self.policy.head.carried_out(sample), extras)

    @torch.no_grad()
    def observe(self, memory: TrialMemory, transition: Transitions, active: Tensor) -> TrialMemory:
        """Remember one transition of each active task.

        Raises:
            ValueError: a field of the transition has the wrong shape, or ``active`` is not bool.
        """
        if active.dtype != torch.bool:
            raise ValueError(f"active must be a bool tensor of shape (task,), got {active.dtype}.")
        check_transitions(transition, self.observation_dim, self.action_dim, tuple(active.shape))
        row = active.unsqueeze(-1)
        present = Transitions(*(torch.where(row if field.dim() == 2 else active, field, 0.0) for field in transition))
        after = self.memory.step(memory.state, self._transition(present, memory.begins))
        return TrialMemory(where_rows(active, after, memory.state), torch.where(row, 0.0, memory.begins))

    def end_episode(self, memory: TrialMemory, ended: Tensor, rng: torch.Generator) -> TrialMemory:
        """Note that the next step begins an episode, for each task whose last one ended; all else is kept."""
        return memory._replace(begins=torch.where(ended.unsqueeze(-1), 1.0, memory.begins))

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from trials that the agent has just played (Schulman et al. 2017, algorithm 1, over trials).

        Args:
            trials: of several tasks, whole.
            rng: draws which tasks make a gradient step.

        Returns:
            Scalars for logging, detached, means over the gradient steps: policy_loss, value_loss, entropy, ratio_change
            (mean distance of the ratios from 1), and gradient_steps, their number.
        """
        check_transitions(trials.transitions, self.observation_dim, self.action_dim)
        reward = self.config.reward_scale * trials.training_reward
        advantages, returns = generalised_advantages(
            reward,
            trials.extras["value"],
            trials.mask,
            discount=self.config.discount,
            gae_lambda=self.config.gae_lambda,
        )
        advantages = standardised(advantages, trials.mask)
        return gradient_steps(
            self,
            self.config,
            len(reward),
            lambda chosen: self._loss(trials.of(chosen), advantages[chosen], returns[chosen]),
            rng,
        )

    def _loss(self, trials: Trials, advantages: Tensor, returns: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the trials of some tasks have to be descended by, and scalars for the log."""
        transitions, mask, extras = trials.transitions, trials.mask, trials.extras
        begins = episode_begins(trials.ended).unsqueeze(-1).float()
        remembered = self.memory(self._transition(transitions, begins))[:, :-1]
        read = torch.cat([self.features(transitions.observation), remembered], dim=-1)
        policy = self.policy(read)
        log_prob = policy.log_prob(extras["sample"])
        policy_loss = clipped_surrogate(log_prob, extras["log_prob"], advantages, mask, self.config.clip)
        value_loss = masked_mean((self._value(read) - returns).square(), mask)
        entropy = masked_mean(policy.entropy(), mask)
        loss = policy_loss + self.config.value_weight * value_loss - self.config.entropy_weight * entropy
        ratio_change = masked_mean((log_prob - extras["log_prob"]).exp().sub(1.0).abs(), mask)
        return loss, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "ratio_change": ratio_change,
        }

    def _value(self, read: Tensor) -> Tensor:
        value: Tensor = self.value(read)
        return value.squeeze(-1)

    def _transition(self, transition: Transitions, begins: Tensor) -> Tensor:
        """Return transitions as the memory reads them, (task, …, input_dim)."""
        reward = self.config.reward_scale * transition.reward.unsqueeze(-1)
        action = self.actions.encode(transition.action)
        return torch.cat([self.features(transition.observation), action, reward, begins], dim=-1)
