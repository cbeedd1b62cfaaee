"""Proximal policy optimisation: losses as pure functions of tensors, and gradient steps (Schulman et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.base import NetworkAgent
from agents.config import FeaturesConfig
from encoders import ConfigError


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(FeaturesConfig):
    """Settings shared by agents that learn on-policy, from their own trials."""

    hidden_sizes: tuple[int, ...] = (128,)
    """Widths of the policy's and the value's hidden layers."""
    learning_rate: float = 1e-3
    """Adam's step size at the start."""
    final_learning_rate: float | None = None
    """Step size at the end of training, reached linearly over its second half; None keeps it constant."""
    epochs: int = 8
    """Passes over an iteration's trials; each gradient step uses a share of the tasks."""
    minibatches: int = 4
    """Gradient steps in a pass, at most one for each task."""
    discount: float = 0.99
    """Discount per environment step."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation: 1 uses rewards alone, 0 mostly the values."""
    clip: float = 0.2
    """Distance from 1 at which the ratio of new to old action probabilities is clipped."""
    max_gradient_norm: float = 0.5
    """Maximum norm of the gradient; a longer one is scaled down to it."""
    reward_scale: float | None = None
    """Factor on rewards, both in the losses and as input of the networks. None uses running units instead: the losses
    divide rewards by the standard deviation of recent returns, values count from the returns' mean, and networks read
    standardised rewards. A random policy then plays the first iteration, which is not learnt from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden_sizes or any(width < 1 for width in self.hidden_sizes):
            raise ConfigError(f"agent.hidden_sizes must be one or more positive widths, got {self.hidden_sizes}.")
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"agent.{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "clip", "max_gradient_norm", "reward_scale"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"agent.{name} must be positive, got {value}.")
        if (self.final_learning_rate or 0) < 0:
            raise ConfigError(f"agent.final_learning_rate must not be negative, got {self.final_learning_rate}.")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"agent.{name} must lie in [0, 1], got {getattr(self, name)}.")
        if self.reward_scale is None and self.discount == 1:
            raise ConfigError(
                "agent.discount is 1, so values have no bound to take a unit from. Lower agent.discount, or give "
                "agent.reward_scale a number."
            )


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Settings of proximal policy optimisation."""

    value_weight: float = 0.5
    """Weight of the value function's squared error; the policy's loss has weight 1."""
    entropy_weight: float = 0.01
    """Weight of the policy's entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("value_weight", "entropy_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"agent.{name} must not be negative, got {getattr(self, name)}.")


def gradient_steps(
    agent: NetworkAgent[Any],
    config: OnPolicyConfig,
    n_tasks: int,
    loss: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Take an iteration's gradient steps (Schulman et al. 2017, algorithm 1), each on a share of the tasks.

    Args:
        agent: the agent that learns, by its optimizer.
        config: number of passes and minibatches, and the maximum norm of the gradient.
        n_tasks: number of tasks in the iteration.
        loss: maps indices of tasks, (chosen,) int64, to the loss and scalars for the log.
        rng: draws the tasks of each gradient step.

    Returns:
        The scalars, detached, means over the gradient steps, and gradient_steps, the number of steps.
    """
    sums: dict[str, Tensor] = {}
    steps = 0
    for _ in range(config.epochs):
        order = torch.randperm(n_tasks, generator=rng)
        for chosen in order.tensor_split(min(config.minibatches, n_tasks)):
            total, scalars = loss(chosen)
            agent.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), config.max_gradient_norm)
            agent.optimizer.step()
            for name, value in scalars.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
            steps += 1
    return {name: total / steps for name, total in sums.items()} | {"gradient_steps": torch.tensor(float(steps))}


def generalised_advantages(
    reward: Tensor,
    value: Tensor,
    mask: Tensor,
    *,
    discount: float,
    gae_lambda: float,
    ended: Tensor | None = None,
    value_after: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates (Schulman et al. 2016, equation 16) and the returns.

    A trial is one sequence unless ``ended`` cuts it: the return continues across episodes. The agent can then give up
    reward in an early episode for more reward later (Duan et al. 2016, section 2.2). The value after the last step is
    zero.

    Args:
        reward: (task, step).
        value: value before each step, (task, step).
        mask: (task, step) bool; padding is at the end and gives zeros.
        discount: per environment step.
        gae_lambda: 0 uses one reward and the next value, 1 rewards alone.
        ended: (task, step) bool, where the sequence is cut after the step; no cuts if None.
        value_after: (task, step), value after a step that cuts the sequence; zero if None.

    Returns:
        Advantages and returns, both (task, step).
    """
    advantages = torch.zeros_like(reward)
    following, next_value = torch.zeros_like(reward[:, 0]), torch.zeros_like(reward[:, 0])
    for step in reversed(range(reward.shape[1])):
        if ended is not None:
            following = torch.where(ended[:, step], 0.0, following)
            next_value = torch.where(ended[:, step], 0.0 if value_after is None else value_after[:, step], next_value)
        error = reward[:, step] + discount * next_value - value[:, step]
        following = torch.where(mask[:, step], error + discount * gae_lambda * following, 0.0)
        next_value = torch.where(mask[:, step], value[:, step], 0.0)
        advantages[:, step] = following
    return advantages, torch.where(mask, advantages + value, 0.0)


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Return the clipped surrogate objective of each step, (task, step) (Schulman et al. 2017, equation 7).

    Args:
        log_prob: log-probability of the actions under the current policy, (task, step).
        old_log_prob: log-probability under the policy that took them, (task, step).
        advantage: (task, step).
        mask: (task, step) bool; False gives no gradient.
        clip: distance from 1 at which the ratio of probabilities is clipped.
    """
    # Padding is masked before the exponential: an overflow there would make the gradient NaN.
    ratio = torch.where(mask, log_prob - old_log_prob, 0.0).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def mean_of_steps(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values``, (task, step) or of one task (step,), where ``mask`` is True; 0 without a step."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def mean_of_tasks(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over tasks of each task's mean of ``values`` (task, step) where ``mask`` is True.

    Each task has the same weight, however many steps it has. If success makes episodes longer, solved tasks would
    otherwise outweigh those still to learn. Tasks without a step are left out; the mean of no tasks is 0.
    """
    steps = mask.sum(1)
    means = torch.where(mask, values, 0.0).sum(1) / steps.clamp(min=1)
    return means.sum() / (steps > 0).sum().clamp(min=1)


def standardised(values: Tensor, mask: Tensor, *, by_task: bool) -> Tensor:
    """Return ``values`` (task, step) with mean 0 and standard deviation 1 over the mask's steps, zeros elsewhere.

    Args:
        values: (task, step).
        mask: (task, step) bool.
        by_task: whether mean and standard deviation are those of each task, rather than of all tasks together.
    """
    over = (1,) if by_task else (0, 1)
    steps = mask.sum(over, keepdim=True).clamp(min=1)
    mean = torch.where(mask, values, 0.0).sum(over, keepdim=True) / steps
    centred = torch.where(mask, values - mean, 0.0)
    return centred / ((centred.square().sum(over, keepdim=True) / steps).sqrt() + 1e-8)
