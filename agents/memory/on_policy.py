"""Memory-based meta-learning on-policy: a policy on the output of a sequence model (Duan et al. 2016)."""

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
    """Whether the value ends where an episode terminates; for tasks where termination is a failure, such as a fall.
    False continues the value through all episodes of a trial (Duan et al. 2016)."""
    standardised_by_task: bool = False
    """Whether advantages are standardised for each task, rather than over all tasks of an iteration."""


class MemoryAgent(TrialMemoryAgent, OnPolicyAgent[TrialMemory]):
    """An agent that adapts by its memory and treats the trial as one long episode (Duan et al. 2016). A ``MetaAgent``.

    The memory is that of ``TrialMemoryAgent``. Training is proximal policy optimisation over whole trials.
    """

    config: MemoryAgentConfig

    def make_networks(self) -> None:
        """Build the memory, and the policy and the value function that read it."""
        self.memory = self.make_memory(self.transition_width)
        read = self.features.dim + self.memory.width
        self.policy = Policy(self.actions, read, self.config.hidden_sizes)
        self.value = mlp(read, self.config.hidden_sizes, 1)

    @abstractmethod
    def make_memory(self, input_dim: int) -> SequenceModel[Any]:
        """Build the sequence model for transitions of the width ``input_dim``."""

    @torch.no_grad()
    def act(
        self, observation: Tensor, memory: TrialMemory, deterministic: Tensor, rng: torch.Generator
    ) -> ActionChoice:
        """Act on the memory; where ``deterministic``, take the likeliest action.

        The choice's extras hold the policy's sample, its log-probability and the value before the step.
        """
        read = torch.cat([self.features(observation), self.memory.output(memory.state)], dim=-1)
        policy = self.policy(read)
        sample = choose(policy, deterministic, rng)
        extras = {"sample": sample, "log_prob": policy.log_prob(sample), "value": self._value(read)}
        return ActionChoice(self.policy.head.to_action(sample), extras)

    def update(self, trials: Trials, rng: torch.Generator) -> dict[str, Tensor]:
        """Learn from the trials of one iteration (Schulman et al. 2017, algorithm 1, over trials).

        Args:
            trials: whole trials of several tasks.
            rng: draws the tasks of each gradient step.

        Returns:
            Scalars for logging, detached, means over the gradient steps: policy_loss, value_loss, entropy, ratio_change
            (mean distance of the ratios from 1); and gradient_steps, the number of steps.
        """
        check_transitions(trials.transitions, self.observation_dim, self.action_dim)
        advantages, returns = self.advantages(trials)
        advantages = standardised(advantages, trials.mask, by_task=self.config.standardised_by_task)
        return gradient_steps(
            self,
            self.config,
            len(advantages),
            lambda chosen: self._loss(trials.of(chosen), advantages[chosen], returns[chosen]),
            rng,
        )

    def advantages(self, trials: Trials) -> tuple[Tensor, Tensor]:
        """Return advantages and the value network's targets, each (task, step).

        The targets are returns less the value that the network's zero stands for. This value follows a trial that a
        time limit ends: with a fixed scale it is 0.
        """
        terminated = trials.transitions.terminated.bool()
        ends = self.value_ends(terminated, trials.mask)
        return generalised_advantages(
            self.value_scale.centred(trials.training_reward, ends & terminated, self.config.discount),
            trials.extras["value"],
            trials.mask,
            discount=self.config.discount,
            gae_lambda=self.config.gae_lambda,
            ended=ends,
        )

    def _loss(self, trials: Trials, advantages: Tensor, returns: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss on the trials of some tasks, and scalars for the log."""
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
