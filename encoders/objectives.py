"""Objectives that train an encoder in addition to the critics' loss."""

import torch
from torch import Tensor
from torch.distributions import Normal


def kl_to_unit_gaussian(posterior: Normal) -> Tensor:
    """KL(q(z|c) || N(0, I)) in nats: a sum over latent dimensions and a mean over tasks (Rakelly et al. 2019, eq. 1).

    The original implementation sums over tasks. Its weight w therefore equals w times its meta-batch size here.

    Args:
        posterior: mean and stddev each (task, latent_dim).

    Returns:
        A scalar.
    """
    mean, stddev = posterior.mean, posterior.stddev
    return 0.5 * (mean.square() + stddev.square() - 1.0 - 2.0 * stddev.log()).sum(-1).mean()


def kl_to_early(posterior: Normal, early: Normal) -> Tensor:
    """KL(q(z|c, c') || q(z|c)) in nats, early context c and later context c': sum over dimensions, mean over tasks.

    It trains the posterior after few transitions to cover the posteriors that may follow (neural processes, Garnelo et
    al. 2018, equation 7). Draw the later context independently of the early one. The rest of the same trial would
    reveal the task wherever the agent explored, and the posterior would learn the agent's habits.

    Args:
        posterior: posterior given both contexts, mean and stddev each (task, latent_dim).
        early: posterior given the early context, of the same shape.

    Returns:
        A scalar.
    """
    return torch.distributions.kl_divergence(posterior, early).sum(-1).mean()


def info_nce(first: Tensor, second: Tensor, present: Tensor) -> Tensor:
    """InfoNCE loss in nats: find each task's ``second`` from its ``first`` (van den Oord et al. 2018, eq. 4).

    Two views of one task's context should give similar beliefs, and different from those of other tasks (as in Fu et
    al. 2021 and Li et al. 2021). The similarity is -|m - m'|^2 / 2, a unit Gaussian's log-density up to a constant, and
    so in the prior's units.

    Args:
        first: posterior means from one view, (task, latent_dim).
        second: posterior means from the other view, (task, latent_dim).
        present: (task,) bool, tasks that have both views; the others serve as negatives only.

    Returns:
        A scalar: mean over the tasks that are ``present``, zero if there are none.
    """
    similarity = -0.5 * (first.unsqueeze(1) - second.unsqueeze(0)).square().sum(-1)
    losses = -similarity.log_softmax(1).diagonal()
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)
