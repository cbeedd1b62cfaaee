"""The kinds of sessions, and the arguments that choose between them."""

from typing import Any, TypeVar

import numpy as np
import torch

from agents import Deployable, PEARLAgent
from agents.context.changes import ChangeDetector
from pearl.adaptation.changes import WatchfulSession
from pearl.adaptation.familiarity import Familiarity
from pearl.adaptation.policy import infers_task, kind_of
from pearl.adaptation.session import Session
from pearl.tasks.arguments import description

DeployableT = TypeVar("DeployableT", bound=Deployable[Any])


def as_deployed(agent: DeployableT, *, follow: bool) -> DeployableT | PEARLAgent:
    """Return the agent whose z follows the posterior, or is kept, or the agent itself if it infers no task.

    Raises:
        TypeError: ``follow`` is not True or False.
    """
    if not isinstance(follow, bool | np.bool_):
        raise TypeError(f"follow must be True or False, got {description(follow)}.")
    if not infers_task(agent):
        return agent
    return agent.following() if follow else agent.keeping()


def start_session(
    agent: Deployable[Any],
    rng: torch.Generator,
    *,
    follow: bool = True,
    forgetting: float | None = None,
    detector: ChangeDetector | None = None,
    familiarity: Familiarity | None = None,
) -> Session:
    """Start a session.

    With ``forgetting``, evidence of k steps ago counts ``forgetting**k``: the natural parameters of the belief move
    back to the prior's. So the agent notices that a task has changed, but infers one that has not changed from about
    ``1 / (1 - forgetting)`` transitions only.

    Args:
        agent: the meta-trained agent.
        rng: draws z and actions.
        follow: whether z follows the posterior after each step; False keeps it for an episode.
        forgetting: share of the evidence that is kept in each step, above 0 and at most 1. None and 1 forget nothing.
        detector: notices changes of the task. None if none shall be noticed.
        familiarity: what a new task is compared with, for ``Session.unfamiliarity``; None without.

    Raises:
        TypeError: an argument has the wrong type, or the agent has no belief that is a sum over transitions.
        ValueError: ``forgetting`` is out of range, or z does not follow the posterior, but shall forget or notice.
    """
    deployed = as_deployed(agent, follow=follow)
    kept = None if forgetting is None else _share(forgetting)
    if kept is None and detector is None:
        return Session(deployed, rng, familiarity=familiarity)
    if not follow:
        raise ValueError("Forgetting and detection of changes need a z that follows the posterior; leave follow out.")
    if not infers_task(agent):
        raise TypeError(f"Only PEARL has a belief that can fade; this agent is a {kind_of(agent)}.")
    share = 1.0 if kept is None else kept
    follower = agent.following(share)
    if detector is None:
        return Session(follower, rng, familiarity=familiarity, kept=share)
    return WatchfulSession(follower, rng, detector, familiarity=familiarity, kept=share)


def _share(forgetting: object) -> float:
    if not isinstance(forgetting, int | float | np.number) or isinstance(forgetting, bool):
        raise TypeError(f"forgetting must be a number above 0 and at most 1, got {description(forgetting)}.")
    if not 0 < forgetting <= 1:
        raise ValueError(
            f"forgetting must be above 0 and at most 1, got {forgetting}: 0.95 keeps 95 % of the evidence in each step."
        )
    return float(forgetting)
