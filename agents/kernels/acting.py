"""The actor's network in NumPy: for one step, the overhead of PyTorch's calls exceeds the computation."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.features import ImageFeatures, VectorFeatures
from encoders.mlp import MLP
from encoders.mlp_in_numpy import LayersInNumPy


class ActorInNumPy:
    """An actor's network in NumPy; it equals PyTorch's up to rounding.

    A step of one task takes half as long as in PyTorch; of a hundred tasks, as long or less.

    Args:
        features: maps observations to the network's inputs.
        network: the actor's network.
    """

    def __init__(self, features: VectorFeatures | ImageFeatures, network: MLP) -> None:
        self._features = features
        self._network = network
        self._layers = LayersInNumPy(network)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy with the layers of the copied network."""
        return type(self)(deepcopy(self._features, memo), deepcopy(self._network, memo))

    def reads(self, observation: Tensor) -> bool:
        """Whether observations are vectors in the CPU's memory."""
        return observation.is_cpu and isinstance(self._features, VectorFeatures)

    def __call__(self, observation: NDArray[np.float32], z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (task, output) for (task, observation_dim) and z (task, latent_dim), without a gradient."""
        assert isinstance(self._features, VectorFeatures)
        return self._layers(np.concatenate([self._features.in_numpy(observation), z], axis=1))
