"""Distributions over actions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LOG_STDDEV_RANGE = (-20.0, 2.0)
ON_BOUND = 1e-6
"""Actions so near a bound lie on it: they went through the space's units and back."""


class SquashedGaussian(NamedTuple):
    """tanh of a diagonal Gaussian: a distribution over actions in [-1, 1] (Haarnoja et al. 2018, appendix C)."""

    mean: Tensor
    """(…, action_dim), before tanh"""
    log_stddev: Tensor
    """(…, action_dim), before tanh"""

    @property
    def mode(self) -> Tensor:
        """The policy mean, squashed: (…, action_dim)."""
        return self.mean.tanh()

    def draw(self, rng: torch.Generator | None = None) -> Tensor:
        """Draw reparameterised actions before tanh, (…, action_dim)."""
        noise = torch.randn(self.mean.shape, generator=rng, device=self.mean.device, dtype=self.mean.dtype)
        return torch.addcmul(self.mean, self.log_stddev.exp(), noise)

    def sample(self, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw reparameterised actions (…, action_dim) and their log-probabilities (…,)."""
        unsquashed = self.draw(rng)
        return unsquashed.tanh(), self.log_prob(unsquashed)

    def log_prob(self, unsquashed: Tensor) -> Tensor:
        """Return log pi(tanh(u)) for ``u`` (…, action_dim): exact at saturated actions too, where 1 - tanh(u)^2 is 0.

        Uses log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).
        """
        normalised = (unsquashed - self.mean) * (-self.log_stddev).exp()
        gaussian = -0.5 * normalised.square() - self.log_stddev - 0.5 * math.log(2 * math.pi)
        log_jacobian = 2.0 * (math.log(2.0) - unsquashed - functional.softplus(-2.0 * unsquashed))
        return (gaussian - log_jacobian).sum(-1)


class ClippedGaussian(NamedTuple):
    """A diagonal Gaussian whose samples are cut to [-1, 1]: what lies beyond gathers on the bounds.

    The likelihood is that of the action carried out, which is the integral of what lies beyond where it is a bound: its
    gradient is unbiased and varies less than the one of the sample before the cut (Fujita and Maeda 2018).
    """

    mean: Tensor
    """(…, action_dim), before the cut"""
    log_stddev: Tensor
    """(…, action_dim), before the cut"""

    @property
    def mode(self) -> Tensor:
        """The mean, cut: (…, action_dim)."""
        return self.mean.clamp(-1.0, 1.0)

    def sample(self, rng: torch.Generator | None = None) -> Tensor:
        """Draw actions, (…, action_dim)."""
        noise = torch.randn(self.mean.shape, generator=rng, device=self.mean.device, dtype=self.mean.dtype)
        return (self.mean + self.log_stddev.exp() * noise).clamp(-1.0, 1.0)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-likelihood of actions (…, action_dim) in [-1, 1], (…,): densities within, masses on bounds."""
        normalised = (action - self.mean) * (-self.log_stddev).exp()
        density = -0.5 * normalised.square() - self.log_stddev - 0.5 * math.log(2 * math.pi)
        # By erfc, which vmap knows; far out, where it and its derivatives would vanish or overflow, the mass stands.
        beyond = (normalised * action.sign()).clamp(-6.0, 10.0)
        mass = (0.5 * torch.erfc(beyond * math.sqrt(0.5))).log()
        return torch.where(action.abs() > 1.0 - ON_BOUND, mass, density).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy before the cut in nats, (…,)."""
        return (self.log_stddev + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


class Categorical(NamedTuple):
    """A distribution over a finite set of actions."""

    log_probs: Tensor
    """(…, action)"""

    @property
    def mode(self) -> Tensor:
        """The likeliest action's number: (…,) int64."""
        return self.log_probs.argmax(-1)

    def sample(self, rng: torch.Generator | None = None) -> Tensor:
        """Draw numbers of actions, (…,) int64, by the Gumbel-max trick."""
        uniform = torch.empty_like(self.log_probs, memory_format=torch.contiguous_format).uniform_(generator=rng)
        return (self.log_probs - (-uniform.clamp(min=1e-20).log()).log()).argmax(-1)

    def log_prob(self, number: Tensor) -> Tensor:
        """Return the log-probability of actions by number (…,) int64, (…,)."""
        return self.log_probs.gather(-1, number.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (…,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)
