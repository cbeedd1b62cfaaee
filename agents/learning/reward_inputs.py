"""Rewards as inputs of networks: times a fixed factor, or standardised by running moments."""

from torch import Tensor, nn

from agents.networks.moments import RunningMoments
from agents.types import Trials


class FixedRewards(nn.Module):
    """Networks read rewards times a factor.

    Args:
        factor: on rewards.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, reward: Tensor) -> Tensor:
        """Return rewards (…,) times the factor."""
        return self._factor * reward

    def see(self, trials: Trials) -> None:
        """Keep the factor."""


class RunningRewards(nn.Module):
    """Networks read rewards standardised by their moments in training, which are part of the agent's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.moments = RunningMoments(1)

    def forward(self, reward: Tensor) -> Tensor:
        """Return standardised rewards (…,)."""
        return self.moments.standardise(reward)

    def see(self, trials: Trials) -> None:
        """Fold the true rewards of new trials into the moments."""
        self.moments.see(trials.transitions.reward[trials.mask].unsqueeze(-1))


def make_reward_inputs(reward_scale: float | None) -> FixedRewards | RunningRewards:
    """Return how networks read rewards: times ``reward_scale``, or standardised where it is None."""
    return RunningRewards() if reward_scale is None else FixedRewards(reward_scale)
