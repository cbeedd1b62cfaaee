"""The kinds of sessions, and the arguments that choose between them."""

from typing import Any

import numpy as np
import torch

from agents import Deployable
from agents.context.changes import ChangeDetector
from pearl.adaptation.changes import WatchfulSession
from pearl.adaptation.policy import infers_task, kind_of
from pearl.adaptation.session import Session
from pearl.tasks.arguments import description


def start_session(
    agent: Deployable[Any], rng: torch.Generator, forgetting: float | None, detector: ChangeDetector | None
) -> Session:
    """Start a session.

    With ``forgetting`` z follows the posterior after each step, and evidence of k steps ago counts ``forgetting**k``:
    the natural parameters of the belief move back to the prior's. So the agent notices that a task has changed, but
    infers one that has not changed from about ``1 / (1 - forgetting)`` transitions only.

    Args:
        agent: the meta-trained agent.
        rng: draws z and actions.
        forgetting: share of the evidence that is kept in each step, above 0 and at most 1; 1 forgets nothing. If None,
            nothing is forgotten, and z moves as in training.
        detector: notices changes of the task; z then follows the posterior. None if none shall be noticed.

    Raises:
        TypeError: ``forgetting`` is no number, or the agent has no belief that is a sum over transitions.
        ValueError: ``forgetting`` is out of range.
    """
    kept = None if forgetting is None else _share(forgetting)
    if kept is None and detector is None:
        return Session(agent, rng)
    if not infers_task(agent):
        raise TypeError(f"Only PEARL has a belief that can fade; this agent is a {kind_of(agent)}.")
    follower = agent.following(1.0 if kept is None else kept)
    return Session(follower, rng) if detector is None else WatchfulSession(follower, rng, detector)


def _share(forgetting: object) -> float:
    if not isinstance(forgetting, int | float | np.number) or isinstance(forgetting, bool):
        raise TypeError(f"forgetting must be a number above 0 and at most 1, got {description(forgetting)}.")
    if not 0 < forgetting <= 1:
        raise ValueError(
            f"forgetting must be above 0 and at most 1, got {forgetting}: 0.95 keeps 95 % of the evidence in each step."
        )
    return float(forgetting)
