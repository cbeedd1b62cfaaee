"""What learning from an agent's own trials needs of an action space: distributions over what was sampled."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.actions import Actions, ContinuousActions, DiscreteActions
from agents.policies import Categorical, Gaussian

INITIAL_LOG_STDDEV = -0.5
"""Of a Gaussian policy, in units of half the action's range"""


class PolicyHead(nn.Module, ABC):
    """Makes distributions of a network's output; a sample of one is kept as it was drawn, so that it can be judged."""

    width: int
    """Numbers that the network gives"""

    @abstractmethod
    def policy(self, output: Tensor) -> Any:
        """Return the distribution that ``output`` (…, width) describes."""

    @abstractmethod
    def carried_out(self, sample: Tensor) -> Tensor:
        """Return the rows (…, action_dim), in the space's units, that samples stand for."""

    def choose(self, policy: Any, deterministic: Tensor, rng: torch.Generator) -> Tensor:
        """Return a sample for each task, or the likeliest one where ``deterministic`` (task,)."""
        best: Tensor = policy.mode
        if deterministic.all():
            return best
        return torch.where(deterministic.view(-1, *[1] * (best.dim() - 1)), best, policy.sample(rng))


class GaussianHead(PolicyHead):
    """A Gaussian whose spread does not depend on the state, for a bounded Box; samples are in units of [-1, 1]."""

    def __init__(self, actions: ContinuousActions) -> None:
        super().__init__()
        self._actions = actions
        self.width = actions.width
        self.log_stddev = nn.Parameter(torch.full((actions.width,), INITIAL_LOG_STDDEV))

    def policy(self, output: Tensor) -> Gaussian:  # noqa: D102
        return Gaussian(output, self.log_stddev)

    def carried_out(self, sample: Tensor) -> Tensor:  # noqa: D102
        return self._actions.decode(sample.clamp(-1.0, 1.0))


class CategoricalHead(PolicyHead):
    """A distribution over a finite set of actions; samples are their numbers."""

    def __init__(self, actions: DiscreteActions) -> None:
        super().__init__()
        self._actions = actions
        self.width = actions.encoded_width

    def policy(self, output: Tensor) -> Categorical:  # noqa: D102
        return Categorical(output.log_softmax(-1))

    def carried_out(self, sample: Tensor) -> Tensor:  # noqa: D102
        return functional.embedding(sample, self._actions.table)


def make_policy_head(actions: Actions) -> PolicyHead:
    """Return the head for a kind of action space."""
    if isinstance(actions, DiscreteActions):
        return CategoricalHead(actions)
    assert isinstance(actions, ContinuousActions)
    return GaussianHead(actions)
