"""Objectives that train an encoder beside the critic's gradient."""

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
