"""Detection of change: whether a transition comes from the task that a belief describes, or from another one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from agents.base import initial_weights
from agents.context.inputs import encoder_inputs
from agents.context.pearl import PEARLAgent
from agents.networks.features import ImageFeatures
from agents.networks.moments import CLIP, RunningMoments
from encoders import Context
from encoders.mlp import mlp
from encoders.mlp_in_numpy import LayersInNumPy
from encoders.pooled.in_numpy import Array

HIDDEN_SIZES = (128, 128)
LEAST_STDDEV = 1e-4
"""Standard deviations of a posterior are read down to here; a deterministic encoder's are 0"""


class Pairs(NamedTuple):
    """Transitions, and posteriors of the tasks that they come from; the tasks are the rows."""

    inputs: Tensor
    """(task, transition, width), from ``detector_inputs``"""
    posterior: Normal
    """(task, transition, latent_dim)"""


class ChangeDetector(nn.Module):
    """Log-likelihood ratio of a transition x under a belief, ln p(x | another task) - ln p(x | the belief's task).

    A classifier learns to tell pairs of a transition and a posterior of the same task from pairs of two tasks. Its best
    logit is the ratio (Gutmann and Hyvärinen 2010; Sugiyama et al. 2012). So noise of the environment, states in which
    tasks look alike and a posterior that is too certain need no model of their own: in all of them the ratio is small.
    It takes any encoder, because it reads posteriors only.

    Args:
        agent: the agent whose beliefs are read.
        rng: draws the initial weights.
    """

    def __init__(self, agent: PEARLAgent, rng: torch.Generator) -> None:
        super().__init__()
        width = 2 * agent.features.dim + agent.actions.encoded_width + 1
        self.moments = RunningMoments(width)
        with initial_weights(rng):
            self.network = mlp(width + 2 * agent.encoder.latent_dim, HIDDEN_SIZES, 1, activation=nn.SiLU)

    def forward(self, inputs: Tensor, posterior: Normal) -> Tensor:
        """Return the ratio in nats, (…,), for ``inputs`` (…, width) and a posterior (…, latent_dim).

        Above 0, another task explains the transition better.
        """
        spread = posterior.stddev.clamp(min=LEAST_STDDEV).log()
        joined = torch.cat([self.moments.standardise(inputs), posterior.mean, spread], dim=-1)
        ratio: Tensor = self.network(joined).squeeze(-1)
        return ratio

    def in_numpy(self) -> Callable[[Array, Array, Array], float]:
        """Return a fast form for one task: see ``ChangeDetectorInNumPy``."""
        return ChangeDetectorInNumPy(self)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the classifier's cross-entropy; a roll by one task gives each transition another task's posterior."""
        mean, stddev = pairs.posterior.mean.roll(1, dims=0), pairs.posterior.stddev.roll(1, dims=0)
        other = Normal(mean, stddev, validate_args=False)
        softplus = nn.functional.softplus
        return (softplus(self(*pairs)) + softplus(-self(pairs.inputs, other))).mean()


class ChangeDetectorInNumPy:
    """A ``ChangeDetector`` in NumPy; it equals PyTorch's up to rounding.

    Args:
        detector: a detector that has learnt all it will learn.
    """

    def __init__(self, detector: ChangeDetector) -> None:
        moments = detector.moments
        self._offset, self._scale = moments.mean.float().numpy(), moments.inverse_deviation().numpy()
        self._network = LayersInNumPy(detector.network)

    def __call__(self, inputs: Array, mean: Array, stddev: Array) -> float:
        """Return the ratio in nats for ``inputs`` (1, width) and a posterior (1, latent_dim)."""
        rows = ((inputs - self._offset) * self._scale).clip(-CLIP, CLIP)
        spread = np.log(np.maximum(stddev, np.float32(LEAST_STDDEV)))
        return float(self._network(np.concatenate([rows, mean, spread], axis=1))[0, 0])


@torch.no_grad()
def encoded(agent: PEARLAgent, context: Context) -> Context:
    """Return transitions in the spaces' units as the encoder and the detector read them."""
    return encoder_inputs(context, agent.features, agent.actions, agent.units, reads_next=True)


def detector_inputs(agent: PEARLAgent, encoded: Context) -> Tensor:
    """Join the fields of encoded transitions, (task, step, width): what is observed, done, earned, and what changes."""
    change = encoded.next_observation
    if agent.units is None or isinstance(agent.features, ImageFeatures):
        change = change - encoded.observation
    return torch.cat([encoded.observation, encoded.action, encoded.reward.unsqueeze(-1), change], dim=-1)
