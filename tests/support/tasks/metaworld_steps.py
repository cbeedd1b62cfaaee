"""Made-up steps of the form in which Metaworld reports them to an agent."""

from typing import NamedTuple

import numpy as np

WIDTH, ACTIONS = 3, 2


class Timestep(NamedTuple):
    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    aux_policy_outputs: dict


def timesteps(n_environments, n=4, *, seed=0, ends=()):
    """Made-up steps of several environments, an episode of each truncated at the steps in ``ends``."""
    rng = np.random.default_rng(seed)
    return [
        Timestep(
            observation=rng.normal(size=(n_environments, WIDTH)),
            action=rng.uniform(-1, 1, (n_environments, ACTIONS)).astype(np.float32),
            reward=rng.normal(size=n_environments),
            terminated=np.zeros(n_environments, np.bool_),
            truncated=np.full(n_environments, step in ends),
            aux_policy_outputs={},
        )
        for step in range(n)
    ]
