"""What the tests of adaptation share: a model and an environment, sessions played by hand, memories compared."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from pearl import PEARL
from pearl.adaptation.session import Session

GOAL = (0.5, -0.25)


def play_by_hand(session: Session, env: gym.Env[Any, Any], *, episodes: int, seed: int) -> None:
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            action = session.act(observation)
            following, reward, terminated, truncated, _ = env.step(action)
            session.observe(observation, action, float(reward), following, terminated, truncated)
            observation, ended = following, terminated or truncated


def observe_at_random(session: Session, n: int, *, seed: int = 0) -> None:
    """Transitions of a random walk that the agent had no part in; no episode ends."""
    rng = np.random.default_rng(seed)
    for observation, action in zip(*rng.uniform(-1, 1, (2, n, 2)).astype(np.float32), strict=True):
        following = observation + 0.1 * action
        session.observe(observation, action, -float(np.hypot(*(following - GOAL))), following, False, False)


def tensors(memory: Any) -> list[torch.Tensor]:
    """Every tensor in a memory: tensors and nested tuples of them."""
    return [memory] if isinstance(memory, torch.Tensor) else [leaf for part in memory for leaf in tensors(part)]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(tensors(one), tensors(other), strict=True))


def fitted(model: PEARL) -> PEARL:
    """The model, with what it learns from its training tasks after meta-training."""
    model.fit_change_detector(seed=0)
    return model
