"""Distributions over actions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LOG_STDDEV_RANGE = (-20.0, 2.0)
ON_BOUND = 1e-6
"""Distance from a bound within which an action counts as on it: converting units and back rounds"""


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
        """Return log pi(tanh(u)) for ``u`` (…, action_dim), exact also at saturated actions, where 1 - tanh(u)^2 is 0.

        Uses log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).
        """
        normalised = (unsquashed - self.mean) * (-self.log_stddev).exp()
        gaussian = -0.5 * normalised.square() - self.log_stddev - 0.5 * math.log(2 * math.pi)
        log_jacobian = 2.0 * (math.log(2.0) - unsquashed - functional.softplus(-2.0 * unsquashed))
        return (gaussian - log_jacobian).sum(-1)


class ClippedGaussian(NamedTuple):
    """A diagonal Gaussian with samples clipped to [-1, 1]; the bounds carry the probability mass beyond them.

    The likelihood is that of the clipped action: a density inside, the mass beyond the bound on a bound. Its gradient
    is unbiased and has less variance than that of the sample before clipping (Fujita and Maeda 2018).
    """

    mean: Tensor
    """(…, action_dim), before clipping"""
    log_stddev: Tensor
    """(…, action_dim), before clipping"""

    @property
    def mode(self) -> Tensor:
        """The clipped mean: (…, action_dim)."""
        return self.mean.clamp(-1.0, 1.0)

    def sample(self, rng: torch.Generator | None = None) -> Tensor:
        """Draw actions, (…, action_dim)."""
        noise = torch.randn(self.mean.shape, generator=rng, device=self.mean.device, dtype=self.mean.dtype)
        return (self.mean + self.log_stddev.exp() * noise).clamp(-1.0, 1.0)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-likelihood of actions (…, action_dim) in [-1, 1], (…,): densities within, masses on bounds."""
        normalised = (action - self.mean) * (-self.log_stddev).exp()
        density = -0.5 * normalised.square() - self.log_stddev - 0.5 * math.log(2 * math.pi)
        # vmap supports erfc. Far from the mean, where it and its derivatives vanish or overflow, the mass is constant.
        beyond = (normalised * action.sign()).clamp(-6.0, 10.0)
        mass = (0.5 * torch.erfc(beyond * math.sqrt(0.5))).log()
        return torch.where(action.abs() > 1.0 - ON_BOUND, mass, density).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy before clipping in nats, (…,)."""
        return (self.log_stddev + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


class Categorical(NamedTuple):
    """A distribution over a finite set of actions."""

    log_probs: Tensor
    """(…, action)"""

    @property
    def mode(self) -> Tensor:
        """Index of the likeliest action: (…,) int64."""
        return self.log_probs.argmax(-1)

    def sample(self, rng: torch.Generator | None = None) -> Tensor:
        """Draw indices of actions, (…,) int64, by the Gumbel-max trick."""
        uniform = torch.empty_like(self.log_probs, memory_format=torch.contiguous_format).uniform_(generator=rng)
        return (self.log_probs - (-uniform.clamp(min=1e-20).log()).log()).argmax(-1)

    def log_prob(self, number: Tensor) -> Tensor:
        """Return the log-probabilities, (…,), of actions by index (…,) int64."""
        return self.log_probs.gather(-1, number.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (…,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)
