"""An algorithm of your own, in one file: docs/add-an-algorithm.md explains it line by line.

    cd experiments/examples
    python ../train.py point-robot --import my_algorithm --algorithm mean_context_sac
    python ../compare.py point-robot --import my_algorithm --algorithms pearl mean_context_sac

Soft actor-critic that acts on the mean of what it makes of each transition: no belief, no sampling, and gradients of
the critics alone teach it what to make of them. It learns from the meta-batches that PEARL learns from.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

import pearl
from agents import ActionChoice, MetaBatch, Transitions
from agents.base import initial_weights
from agents.config import SACConfig
from agents.finite import check_memory
from agents.learning.soft_actor_critic import SoftActorCriticAgent
from agents.losses import actor_loss
from agents.networks.features import make_features
from encoders import ConfigError, mlp


@dataclass(frozen=True, kw_only=True)
class MeanContextSACAgentConfig(SACConfig):
    """Settings of the agent: those of soft actor-critic, and its own."""

    summary_width: int = 16
    """Numbers that each transition is read into."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.summary_width < 1:
            raise ConfigError(f"agent.summary_width must be at least 1, got {self.summary_width}.")


@dataclass(frozen=True, kw_only=True)
class MeanContextSACConfig(pearl.Config):
    """Settings of a run: a section for the agent, one for training; that for evaluation is inherited."""

    algorithm: ClassVar[str] = "mean_context_sac"
    agent: MeanContextSACAgentConfig = field(default_factory=MeanContextSACAgentConfig)
    """The agent."""
    training: pearl.TrainingConfig = field(default_factory=pearl.TrainingConfig)
    """Collection and gradient steps."""


class Memory(NamedTuple):
    """Everything that the agent knows of each task: tensors, the first dimension is the task."""

    total: Tensor
    """(task, summary_width), sum over the transitions so far"""
    n_seen: Tensor
    """(task, 1), how many they are"""


class MeanContextSACAgent(SoftActorCriticAgent[Memory]):
    """Soft actor-critic on the mean summary of a task's transitions."""

    config: MeanContextSACAgentConfig

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        config: MeanContextSACConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(observation_space, action_space, config.agent)
        width = config.agent.summary_width
        with initial_weights(rng):
            self.features = make_features(observation_space, config.agent)
            read = self.features.dim + self.actions.encoded_width + 1
            self.summary = mlp(read, config.agent.hidden_sizes, width)
            self.actor = self.actions.make_actor(self.features.dim, width, config.agent)
            self.critics = self.actions.make_critics(self.features.dim, width, config.agent)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        self.optimizer = self.make_optimizer(config.agent.learning_rate)

    def begin(self, n_tasks: int, rng: torch.Generator) -> Memory:
        """Start trials: nothing was seen."""
        total = torch.zeros(n_tasks, self.config.summary_width, dtype=torch.float32)
        return Memory(total, torch.zeros(n_tasks, 1, dtype=torch.float32))

    @torch.no_grad()
    def act(self, observation: Tensor, memory: Memory, deterministic: Tensor, rng: torch.Generator) -> ActionChoice:
        """Act on the mean summary; where ``deterministic`` (task,) take the likeliest action."""
        policy = self.actor(self.features(observation), memory.total / memory.n_seen.clamp(min=1.0))
        return ActionChoice(self.actions.choose(policy, deterministic, rng))

    @torch.no_grad()
    def observe(self, memory: Memory, transition: Transitions, active: Tensor) -> Memory:
        """Add one transition of each task where ``active`` (task,)."""
        row = active.unsqueeze(-1)
        read = self.summarise(transition.observation, transition.action, transition.reward)
        total = memory.total + torch.where(row, read, 0.0)
        check_memory("The summary", (total,), transition)
        return Memory(total, memory.n_seen + row)

    def end_episode(self, memory: Memory, ended: Tensor, rng: torch.Generator) -> Memory:
        """Go on with the same memory in the trial's next episode."""
        return memory

    def update(self, batch: MetaBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take one gradient step on a meta-batch; return scalars for the log."""
        context, transitions = batch.context, batch.transitions
        mask = context.mask.unsqueeze(-1)
        read = self.summarise(context.observation, context.action, context.reward)
        mean = torch.where(mask, read, 0.0).sum(1) / mask.sum(1).clamp(min=1)
        task = mean.unsqueeze(1).expand(-1, transitions.reward.shape[1], -1)  # (task, step, summary_width)

        observation = self.features(transitions.observation)
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            following = self.features(transitions.next_observation)
            policy = self.actor(following, task)
            value = self.actions.soft_value(policy, self.target_critics, following, task, temperature, rng).value
            target = self.bellman_target(transitions.reward, transitions.terminated, value)
        action = self.actions.encode(transitions.action)
        critic, _ = self.actions.critic_loss(self.critics, observation, action, task, target)
        fixed, known = observation.detach(), task.detach()
        gain, entropy = self.actions.soft_value(self.actor(fixed, known), self.critics, fixed, known, temperature, rng)
        actor = actor_loss(gain)
        self.descend(critic, (self.features, self.summary, self.critics), actor, (self.actor,), entropy.detach())
        self.follow([self.target_critics], [self.critics])
        return {"critic_loss": critic.detach(), "actor_loss": actor.detach(), "temperature": temperature}

    def summarise(self, observation: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """Return what is made of each transition, (task, …, summary_width)."""
        read = [self.features(observation), self.actions.encode(action), reward.unsqueeze(-1)]
        summary: Tensor = self.summary(torch.cat(read, dim=-1))
        return summary


pearl.register_algorithm(
    "mean_context_sac",
    config=MeanContextSACConfig,
    agent=MeanContextSACAgent,
    training=pearl.ReplayTraining,
    description="soft actor-critic on the mean of what it makes of each transition",
)
