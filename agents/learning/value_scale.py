"""Units of the critics: a fixed factor on rewards, or an offset and a scale that follow recent returns."""

import torch
from torch import Tensor, nn

from agents.losses import soft_bellman_target
from agents.networks.moments import RESOLUTION, without_outliers
from agents.types import Trials

RATE = 0.1
"""Share of the newest trials in the running statistics, once there are more iterations than its inverse"""
REACH = 10.0
"""Most deviations between the mean return and 0, the value after a termination, for values that are regressed"""


class FixedScale(nn.Module):
    """Critics learn rewards times a factor.

    Args:
        factor: on rewards.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def rewards(self, reward: Tensor) -> Tensor:
        """Return rewards in the critics' unit."""
        return self._factor * reward

    def centred(self, reward: Tensor, terminated: Tensor, discount: float) -> Tensor:
        """Return rewards in the critics' unit: their zero stands for a value of 0."""
        return self.rewards(reward)

    def bellman_target(self, reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
        """Return r + discount (1 - terminated) V(s') in the critics' unit, (task, step)."""
        return soft_bellman_target(self.rewards(reward), terminated, next_value, discount)

    def see(self, trials: Trials, discount: float) -> None:
        """Keep the factor."""


class RunningScale(nn.Module):
    """Critics learn values less the mean of recent returns, over their standard deviation. Part of the agent's weights.

    So a reward's unit changes nothing, and neither does a constant reward in every step where episodes do not
    terminate. The statistics are those of the discounted returns of collected steps, not of the critics' own targets:
    what the critics believe cannot move their scale (compare PopArt, van Hasselt et al. 2016).
    """

    n_iterations: Tensor
    mean: Tensor
    variance: Tensor
    _scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("n_iterations", "mean", "variance"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        # Read in each gradient step, moved once in an iteration.
        self.register_buffer("_scale", torch.ones((), dtype=torch.float64), persistent=False)
        self.register_load_state_dict_post_hook(RunningScale._follow)  # type: ignore[no-untyped-call]

    @property
    def varies(self) -> bool:
        """Whether recent returns differ by more than rounding."""
        return bool(self._varies())

    def _varies(self) -> Tensor:
        return self.variance > (RESOLUTION * self.mean.abs()).square()

    def rewards(self, reward: Tensor) -> Tensor:
        """Return rewards in the critics' unit."""
        return (reward / self._scale).float()

    def centred(self, reward: Tensor, terminated: Tensor, discount: float) -> Tensor:
        """Return rewards such that the values they add up to are in the critics' unit, less what their zero stands for.

        With V = mean + scale v, the equation V = r + discount (1 - terminated) V' becomes
        v = (r - mean (1 - discount (1 - terminated))) / scale + discount (1 - terminated) v'. It is summed in double
        precision: next to a large mean, single precision would lose the rewards' differences.

        Args:
            reward: in the environments' unit, (task, step).
            terminated: (task, step), 1.0 where no value follows.
            discount: per environment step.
        """
        following = discount * (1.0 - terminated.double())
        return ((reward.double() - self.mean * (1.0 - following)) / self._scale).float()

    def bellman_target(self, reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
        """Return r + discount (1 - terminated) V(s') in the critics' unit, less what their zero stands for."""
        return soft_bellman_target(self.centred(reward, terminated, discount), terminated, next_value, discount)

    @torch.no_grad()
    def see(self, trials: Trials, discount: float) -> None:
        """Move the statistics towards the discounted training returns of new trials."""
        returns, share = _estimates(trials, discount)
        if len(returns) == 0:
            return
        returns = without_outliers(returns)
        self.n_iterations += 1
        rate = max(RATE, 1.0 / float(self.n_iterations))
        delta = returns.mean() - self.mean
        self.mean += rate * delta
        spread, weight = self._spread(returns, share)
        moved = self.variance + rate * (weight * delta).square()
        self.variance.copy_((1.0 - rate) * moved + rate * spread)
        self._follow()

    def _spread(self, returns: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the variance of new returns, and the weight of their mean's move in the running variance.

        Args:
            returns: (estimate,).
            share: the share of each that was seen, (estimate,).
        """
        return returns.var(correction=0), torch.ones_like(self.mean)

    @torch.no_grad()
    def _follow(self, *_: object) -> None:
        """Update the numbers that gradient steps read."""
        # Returns that are all alike have no spread; their size is a unit too.
        scale = torch.where(self._varies(), self.variance.sqrt(), self.mean.abs())
        scale = torch.maximum(scale, self._least())
        scale = torch.where(scale > 0, scale, 1.0)
        self._scale.copy_(scale)

    def _least(self) -> Tensor:
        """Return the smallest scale."""
        return torch.zeros_like(self.mean)


class TargetScale(RunningScale):
    """Running units of values that are regressed on the returns of trials: targets have about unit deviation.

    Two things differ from ``RunningScale``. The deviation is that of the part of a return that trials show; rewards of
    trials much shorter than ``1 / (1 - discount)`` would otherwise be tiny beside it. And once an episode has
    terminated, 0 is at most ``REACH`` deviations from the mean: policies that nearly never fail have returns that are
    nearly equal, and the target of a rare failure, 0 in the environments' unit, would be thousands of deviations away.
    """

    terminates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("terminates", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def see(self, trials: Trials, discount: float) -> None:
        """Move the statistics towards the discounted training returns of new trials."""
        terminated = (trials.transitions.terminated > 0) & trials.ended & trials.mask
        self.terminates.copy_(torch.maximum(self.terminates, terminated.any().double()))
        super().see(trials, discount)

    def _spread(self, returns: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        return (share * (returns - returns.mean())).square().mean(), share.mean()

    def _least(self) -> Tensor:
        return self.terminates * self.mean.abs() / REACH


def make_value_scale(
    reward_scale: float | None, running: type[RunningScale] = RunningScale
) -> FixedScale | RunningScale:
    """Return the unit of the critics: rewards times ``reward_scale``, or ``running`` statistics where it is None."""
    return running() if reward_scale is None else FixedScale(reward_scale)


def expected_returns(trials: Trials, discount: float) -> Tensor:
    """Return estimates of the values of collected steps, (estimate,) in double precision: what their rewards add up to.

    The return of a terminated episode is known. Where a time limit cuts an episode, its discounted mean reward stands
    for what would follow; so steps count only if at least ``1 / (1 - discount)`` further ones were seen, or the whole
    episode where it is shorter.

    Args:
        trials: whole trials with their training rewards.
        discount: per environment step.
    """
    return _estimates(trials, discount)[0]


def _estimates(trials: Trials, discount: float) -> tuple[Tensor, Tensor]:
    """Return ``expected_returns`` and the share of each that was seen: 1 where the episode terminated."""
    reward, ended = trials.training_reward.double(), trials.ended
    n_tasks, n_steps = reward.shape
    future = reward.new_zeros(n_tasks)  # discounted rewards from the present step to the episode's end
    weight = reward.new_zeros(n_tasks)  # their weights' sum
    left = reward.new_zeros(n_tasks)  # steps from the present one to the episode's end
    terminates = torch.zeros(n_tasks, dtype=torch.bool)
    needed = 1.0 / (1.0 - discount)
    estimates, shares, remaining, closed = [], [], [], []
    for step in reversed(range(n_steps)):
        last = ended[:, step] | ~trials.mask[:, step]
        future = reward[:, step] + discount * future.masked_fill(last, 0.0)
        weight = 1.0 + discount * weight.masked_fill(last, 0.0)
        left = 1.0 + left.masked_fill(last, 0.0)
        terminates = torch.where(last, trials.transitions.terminated[:, step] > 0, terminates)
        estimates.append(torch.where(terminates, future, future * (needed / weight)))
        shares.append(torch.where(terminates, 1.0, weight / needed))
        remaining.append(left)
        closed.append(terminates)
    estimate, share, steps, terminated = (
        torch.stack(rows[::-1], dim=1) for rows in (estimates, shares, remaining, closed)
    )
    begins = torch.cat([torch.ones_like(ended[:, :1]), ended[:, :-1]], dim=1)
    counted = trials.mask & (terminated | (steps >= needed) | begins)
    return estimate[counted], share[counted]
