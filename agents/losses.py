"""SAC's losses as pure functions of tensors (Haarnoja et al. 2018, arXiv 1812.05905)."""

from torch import Tensor


def soft_bellman_target(
    reward: Tensor, terminated: Tensor, next_q: Tensor, next_log_prob: Tensor, temperature: Tensor, discount: float
) -> Tensor:
    """Return r + discount (1 - terminated) (min_i Q_i(s', a') - temperature log pi(a'|s')), equations 2 and 3.

    Bootstraps through time limits: only ``terminated`` cuts.

    Args:
        reward: (task, step).
        terminated: (task, step), 1.0 where the MDP ended.
        next_q: target critics' values, (critic, task, step).
        next_log_prob: (task, step).
        temperature: scalar.
        discount: per environment step.

    Returns:
        (task, step).
    """
    soft_value = next_q.amin(0) - temperature * next_log_prob
    return reward + discount * (1.0 - terminated) * soft_value


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Half the squared Bellman error, summed over critics, mean over tasks and steps (equation 5).

    Args:
        q: (critic, task, step).
        target: (task, step).
    """
    return 0.5 * (q - target).square().mean(dim=(1, 2)).sum()


def actor_loss(log_prob: Tensor, q: Tensor, temperature: Tensor) -> Tensor:
    """Mean of temperature log pi(a|s) - min_i Q_i(s, a) over tasks and steps (equation 7).

    Args:
        log_prob: (task, step).
        q: (critic, task, step).
        temperature: scalar.
    """
    return (temperature * log_prob - q.amin(0)).mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Loss whose gradient raises the temperature while the entropy is under its target (equation 18).

    Args:
        log_temperature: scalar.
        log_prob: (task, step), detached.
        target_entropy: in nats.
    """
    return -(log_temperature.exp() * (log_prob + target_entropy).mean())
