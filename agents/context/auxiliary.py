"""The encoder's losses beside the critics': bounds of the information in z, and the contrastive loss."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributions import Normal

from agents.config import AuxiliaryConfig, PEARLAgentConfig
from agents.context.memory import halves
from encoders import Belief, Context, ContextEncoder, info_nce, kl_to_early, kl_to_unit_gaussian

WeightedLosses = dict[str, tuple[float, Tensor]]
"""Each loss with its weight, by name"""


def check_teachers(auxiliary: AuxiliaryConfig) -> None:
    """Raise a ValueError if no loss trains the encoder to tell tasks apart."""
    weights = auxiliary.contrastive_weight, auxiliary.reconstruction_weight, auxiliary.task_inference
    if not auxiliary.critics_teach_encoder and not any(weights):
        raise ValueError(
            "agent.auxiliary.critics_teach_encoder is false and nothing teaches the encoder to tell tasks apart. "
            "Give agent.auxiliary.reconstruction_weight, agent.auxiliary.contrastive_weight or, if tasks do not change "
            "within an episode, agent.auxiliary.task_inference_weight a value above 0."
        )


def information_bounds(
    encoder: ContextEncoder[Any], config: PEARLAgentConfig, posterior: Normal, early: Belief | None
) -> WeightedLosses:
    """Return each KL that limits the information in z.

    Args:
        encoder: the encoder of ``posterior``; one that is not stochastic has no bounds.
        config: the weights.
        posterior: q(z|c), mean and stddev each (task, latent_dim).
        early: the belief after an early context, or None.
    """
    if not encoder.stochastic:
        return {}
    bounds = {"kl": (config.kl_weight, kl_to_unit_gaussian(posterior))}
    if early is not None and config.auxiliary.early_kl_weight:
        bounds["early_kl"] = config.auxiliary.early_kl_weight, kl_to_early(posterior, encoder.posterior(early))
    return bounds


def contrast(
    encoder: ContextEncoder[Any], infer: Callable[[Context], Belief], weight: float, context: Context
) -> WeightedLosses:
    """Return the contrastive loss between the even and the odd transitions of the contexts.

    Both halves start from the prior: an early context in both would make them similar by itself.

    Args:
        encoder: gives a belief's posterior.
        infer: folds a context into a belief.
        weight: the loss's weight.
        context: (task, context step, …).
    """
    views = halves(context)
    first, second = (encoder.posterior(infer(view)).mean for view in views)
    present = views[0].mask.any(1) & views[1].mask.any(1)
    return {"contrastive_loss": (weight, info_nce(first, second, present))}
