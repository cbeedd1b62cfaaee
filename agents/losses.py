"""SAC's losses as pure functions of tensors (Haarnoja et al. 2018, arXiv 1812.05905; Christodoulou 2019)."""

from torch import Tensor
from torch.nn import functional


def soft_value(q: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """Return min_i Q_i(s, a) - temperature log pi(a|s) for one sampled action (equation 3).

    Args:
        q: (critic, task, step).
        log_prob: (task, step).
        temperature: scalar.

    Returns:
        (task, step).
    """
    return q.amin(0) - temperature * log_prob


def expected_soft_value(q: Tensor, log_probs: Tensor, temperature: Tensor) -> Tensor:
    """Return sum_a pi(a|s) (min_i Q_i(s, a) - temperature log pi(a|s)) over a finite set (Christodoulou 2019, eq. 10).

    Args:
        q: (critic, task, step, action).
        log_probs: (task, step, action).
        temperature: scalar.

    Returns:
        (task, step).
    """
    return (log_probs.exp() * (q.amin(0) - temperature * log_probs)).sum(-1)


def soft_bellman_target(reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """Return r + discount (1 - terminated) V(s'), equation 2. Bootstraps through time limits: only ``terminated`` cuts.

    Args:
        reward: (task, step).
        terminated: (task, step), 1.0 where the MDP ended.
        next_value: soft value by the target critics, (task, step).
        discount: per environment step.

    Returns:
        (task, step).
    """
    return reward + discount * (1.0 - terminated) * next_value


def trial_bellman_target(reward: Tensor, value: Tensor, discount: float, *, ended: Tensor | None = None) -> Tensor:
    """Return r_t + discount V_(t+1), equation 2 along trials.

    A trial is one sequence (Duan et al. 2016, section 2.2) unless ``ended`` cuts it: the value continues from one
    episode to the next. The value after the last step is zero.

    Args:
        reward: (trial, step).
        value: soft value before each step by the target critics, (trial, step), zeros in padding.
        discount: per environment step.
        ended: (trial, step) bool, where the value ends with the step; no cuts if None.

    Returns:
        (trial, step).
    """
    following = functional.pad(value[:, 1:], (0, 1))
    return reward + discount * (following if ended is None else following.masked_fill(ended, 0.0))


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Half the squared Bellman error, summed over critics, mean over tasks and steps (equation 5).

    Args:
        q: (critic, task, step).
        target: (task, step).
    """
    return 0.5 * (q - target).square().mean(dim=(1, 2)).sum()


def categorical_critic_loss(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy to a target distribution over bins, in nats, summed over critics, mean over tasks and steps.

    Args:
        log_probs: (critic, task, step, bin).
        target: probabilities, (task, step, bin).
    """
    return -(target * log_probs).sum(-1).mean(dim=(1, 2)).sum()


def actor_loss(value: Tensor) -> Tensor:
    """Minus the policy's soft value, mean over tasks and steps (equation 7).

    Args:
        value: (task, step), with the gradient to the policy.
    """
    return -value.mean()


def temperature_loss(log_temperature: Tensor, entropy: Tensor, target_entropy: float) -> Tensor:
    """Loss whose gradient raises the temperature while the entropy is under its target (equation 18).

    Args:
        log_temperature: scalar.
        entropy: (task, step), or its estimate from one action, detached.
        target_entropy: target of the entropy, in nats.
    """
    return log_temperature.exp() * (entropy - target_entropy).mean()
