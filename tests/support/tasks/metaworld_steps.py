"""Made-up steps of the form in which Metaworld reports them to an agent."""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, ACTIONS = 3, 2


class Timestep(NamedTuple):
    observation: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[Any]
    terminated: NDArray[Any]
    truncated: NDArray[Any]
    aux_policy_outputs: dict[str, Any]


def timesteps(n_environments: int, n: int = 4, *, seed: int = 0, ends: Collection[int] = ()) -> list[Timestep]:
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
