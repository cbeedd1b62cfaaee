"""Learning to learn by memory: a sequence model reads the trial, a policy reads the model (Duan et al. 2016)."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.learning.on_policy import OnPolicyAgent, Policy, choose
from agents.learning.ppo import (
    PPOConfig,
    clipped_surrogate,
    generalised_advantages,
    gradient_steps,
    mean_of_steps,
    standardised,
)
from agents.memory.sequence_models import SequenceModel
from agents.memory.trial_memory import TrialMemory, TrialMemoryAgent
from agents.types import ActionChoice, Trials, check_transitions, episode_begins
from encoders import mlp


@dataclass(frozen=True, kw_only=True)
class MemoryAgentConfig(PPOConfig):
    """Settings of proximal policy optimisation over whole trials."""

    value_ends_at_termination: bool = False
    """Whether the value ends where an episode terminates, as where to fall is to fail; where not, it goes on through
    all of a trial's episodes (Duan et al. 2016), to which a fall is a new start."""
    standardised_by_task: bool = False
    """Whether each task's advantages are standardised by themselves rather than those of an iteration together."""


class MemoryAgent(TrialMemoryAgent, OnPolicyAgent[TrialMemory]):
    """The trial is one long episode, and what is learnt within it is in the memory (Duan et al. 2016). A ``MetaAgent``.

    What is remembered is as in ``TrialMemoryAgent``. Trained by proximal policy optimisation over whole trials.
    """

    config: MemoryAgentConfig

    def make_networks(self) -> None:
        """Build the memory, and the policy and the value that read it."""
        self.memory = self.make_memory(self.transition_width)
        read = self.features.dim + self.memory.width
        self.policy = Policy(self.actions, read, self.config.hidden_sizes)
        self.value = mlp(read, self.config.hidden_sizes, 1)

    @abstractmethod
    def make_memory(self, input_dim: int) -> SequenceModel[Any]:
        """Build the sequence model for the width of a transition."""

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: TrialMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on what is remembered; where ``deterministic`` the likeliest action.

        The choice carries along the sample as drawn, its log-probability and the value of the step's beginning.
        """
        read = torch.cat([self.features(observation), self.memory.output(memory.state)], dim=-1)
        policy = self.policy(read)
        sample = choose(policy, deterministic, rng)
        extras = {"sample": sample, "log_prob": policy.log_prob(sample), "value": self._value(read)}
        return ActionChoice(self.policy.head.to_action(sample), extras)

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
            ended=trials.transitions.terminated.bool() if self.config.value_ends_at_termination else None,
        )
        advantages = standardised(advantages, trials.mask, by_task=self.config.standardised_by_task)
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
        features, action = self.features(transitions.observation), self.actions.encode(transitions.action)
        remembered = self.memory(self.memory_inputs(features, action, transitions.reward, begins))[:, :-1]
        read = torch.cat([features, remembered], dim=-1)
        policy = self.policy(read)
        log_prob = policy.log_prob(extras["sample"])
        surrogate = clipped_surrogate(log_prob, extras["log_prob"], advantages, mask, self.config.clip)
        policy_loss = -mean_of_steps(surrogate, mask)
        value_loss = mean_of_steps((self._value(read) - returns).square(), mask)
        entropy = mean_of_steps(policy.entropy(), mask)
        loss = policy_loss + self.config.value_weight * value_loss - self.config.entropy_weight * entropy
        ratio_change = mean_of_steps((log_prob - extras["log_prob"]).exp().sub(1.0).abs(), mask)
        return loss, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "ratio_change": ratio_change,
        }

    def _value(self, read: Tensor) -> Tensor:
        value: Tensor = self.value(read)
        return value.squeeze(-1)
