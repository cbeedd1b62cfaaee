"""Figures of training, as they are logged."""

from collections.abc import Mapping
from typing import Any

import torch

from agents import PEARLAgent
from pearl.training.base import MetaTraining


def training_figures(training: MetaTraining[Any, Any], wall_s: float, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of training to log.

    Args:
        training: its counters and times.
        wall_s: seconds of training.
        metrics: the agent's scalars of the newest iteration.
    """
    values = {
        "env_steps": float(training.env_steps),
        "gradient_steps": float(training.gradient_steps),
        "wall_s": wall_s,
    }
    values |= {f"train/{name}": value for name, value in metrics.items()}
    if training.collection_s > 0:
        values["time/env_steps_per_s"] = training.env_steps / training.collection_s
    if training.learning_s > 0:
        values["time/gradient_steps_per_s"] = training.gradient_steps / training.learning_s
    return values


@torch.no_grad()
def posterior_figures(agent: object, memory: Any) -> dict[str, float]:
    """Return the figures of the test trials' posteriors to log; none if the agent has no posterior."""
    if not isinstance(agent, PEARLAgent):
        return {}
    posterior = agent.posterior(memory)
    return {
        "test/posterior_stddev": float(posterior.stddev.mean()),
        "test/posterior_mean_spread": float(posterior.mean.std(0, correction=0).mean()),
    }
