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


def kl_to_prefix(posterior: Normal, prefix: Normal) -> Tensor:
    """KL(q(z|c) || q(z|c')) in nats for a prefix c' of the context c: a sum over dimensions and a mean over tasks.

    Trains the belief after few transitions to leave room for what later ones showed (neural processes, Garnelo et al.
    2018, equation 7).

    Args:
        posterior: given the whole context, mean and stddev each (task, latent_dim).
        prefix: given the prefix, of the same shape.

    Returns:
        A scalar.
    """
    return torch.distributions.kl_divergence(posterior, prefix).sum(-1).mean()
