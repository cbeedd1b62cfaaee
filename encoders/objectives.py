"""Objectives that train an encoder beside the critic's gradient."""

import torch
from torch import Tensor
from torch.distributions import Normal


def kl_to_unit_gaussian(posterior: Normal) -> Tensor:
    """KL(q(z|c) || N(0, I)) in nats: a sum over latent dimensions and a mean over tasks (Rakelly et al. 2019, eq. 1).

    The original implementation sums over tasks; its weight w equals a weight of w times its meta-batch size here.

    Args:
        posterior: mean and stddev each (task, latent_dim).

    Returns:
        A scalar.
    """
    mean, stddev = posterior.mean, posterior.stddev
    return 0.5 * (mean.square() + stddev.square() - 1.0 - 2.0 * stddev.log()).sum(-1).mean()


def kl_to_early(posterior: Normal, early: Normal) -> Tensor:
    """KL(q(z|c, c') || q(z|c)) in nats, early context c and later one c': sum over dimensions, mean over tasks.

    Trains the belief after few transitions to leave room for what later ones may show (neural processes, Garnelo et al.
    2018, equation 7). The later context has to be drawn apart from the early one: the rest of the same trial would show
    the task where the agent went to look for it, and the belief would learn the agent's habits.

    Args:
        posterior: given both contexts, mean and stddev each (task, latent_dim).
        early: given the early one, of the same shape.

    Returns:
        A scalar.
    """
    return torch.distributions.kl_divergence(posterior, early).sum(-1).mean()


def info_nce(first: Tensor, second: Tensor, present: Tensor) -> Tensor:
    """Loss, in nats, of telling from ``first`` which of ``second`` is of its task (van den Oord et al. 2018, eq. 4).

    Two views of a task's context should give beliefs that are alike, and unlike those of other tasks (as in Fu et al.
    2021 and Li et al. 2021). How alike is -|m - m'|^2 / 2, a unit Gaussian's log-density but for a constant, so that it
    is measured in the prior's units.

    Args:
        first: posterior means from one view, (task, latent_dim).
        second: posterior means from the other.
        present: (task,) bool, tasks that have both views; the others are not asked for, but stand among the choices.

    Returns:
        A scalar: mean over the tasks that are asked for, zero where there are none.
    """
    similarity = -0.5 * (first.unsqueeze(1) - second.unsqueeze(0)).square().sum(-1)
    losses = -similarity.log_softmax(1).diagonal()
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)
