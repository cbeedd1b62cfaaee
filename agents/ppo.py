"""Proximal policy optimisation's losses as pure functions of tensors (Schulman et al. 2016, 2017)."""

import torch
from torch import Tensor


def generalised_advantages(
    reward: Tensor, value: Tensor, mask: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates (Schulman et al. 2016, equation 16) and the returns they are made of.

    A trial is one sequence: episodes end within it and the return goes on, as a meta-learner's shall, which gives up
    reward in an early episode for more of it later (Duan et al. 2016, section 2.2). Nothing comes after its last step.

    Args:
        reward: (task, step).
        value: of each step's beginning, (task, step).
        mask: (task, step) bool; padding is at the end and gives zeros.
        discount: per environment step.
        gae_lambda: 0 trusts the values alone, 1 the rewards alone.

    Returns:
        Advantages and returns, both (task, step).
    """
    advantages = torch.zeros_like(reward)
    following, next_value = torch.zeros_like(reward[:, 0]), torch.zeros_like(reward[:, 0])
    for step in reversed(range(reward.shape[1])):
        error = reward[:, step] + discount * next_value - value[:, step]
        following = torch.where(mask[:, step], error + discount * gae_lambda * following, 0.0)
        next_value = torch.where(mask[:, step], value[:, step], 0.0)
        advantages[:, step] = following
    return advantages, torch.where(mask, advantages + value, 0.0)


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Return the policy's loss, minus the clipped surrogate objective (Schulman et al. 2017, equation 7).

    Args:
        log_prob: of the actions taken, by the policy that learns, (task, step).
        old_log_prob: by the policy that took them, (task, step).
        advantage: (task, step).
        mask: (task, step) bool; the mean is over its steps.
        clip: how far the ratio of probabilities counts from 1.
    """
    # Padding is left out before the exponential: what overflows there would come back as a gradient of NaN.
    ratio = torch.where(mask, log_prob - old_log_prob, 0.0).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
    return -masked_mean(surrogate, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` (task, step) where ``mask`` is True."""
    return torch.where(mask, values, 0.0).sum() / mask.sum()


def standardised(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``values`` (task, step) with mean 0 and standard deviation 1 over the mask's steps, zeros elsewhere."""
    centred = torch.where(mask, values - masked_mean(values, mask), 0.0)
    return centred / (masked_mean(centred.square(), mask).sqrt() + 1e-8)
