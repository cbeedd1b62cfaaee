"""A belief that takes in one transition, in NumPy: the overhead of PyTorch's calls exceeds the computation."""

import math
from copy import deepcopy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.context.draws import LatestNoise
from agents.context.inputs import RunningUnits
from agents.context.memory import PEARLMemory
from agents.finite import is_finite
from agents.kernels.layers import LayersInNumPy
from agents.networks.actions import Actions
from agents.networks.features import ImageFeatures, VectorFeatures
from agents.networks.moments import CLIP, RunningMoments
from agents.types import Transitions
from encoders import ContextEncoder
from encoders.pooled.linear_gaussian import LinearGaussian
from encoders.types import GaussianBelief

Array = NDArray[Any]


class FollowingInNumPy:
    """A step of ``PEARLAgent.observe`` with a ``LinearGaussian`` encoder in NumPy; it equals PyTorch's up to rounding.

    Args:
        features: of observations.
        actions: encodes actions.
        units: of rewards and of changes of observations; None if the encoder reads both as they are.
        encoder: the agent's encoder.
    """

    def __init__(
        self,
        features: VectorFeatures | ImageFeatures,
        actions: Actions[Any],
        units: RunningUnits | None,
        encoder: ContextEncoder[Any],
    ) -> None:
        self._features, self._actions, self._units, self._encoder = features, actions, units, encoder
        self._possible = type(encoder) is LinearGaussian and isinstance(features, VectorFeatures)
        self._network = LayersInNumPy(encoder.network) if type(encoder) is LinearGaussian else None
        self._reward_unit, self._change_unit = _Unit(), _Unit()
        self._noise = LatestNoise()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy with the layers of the copied encoder."""
        return type(self)(*(deepcopy(part, memo) for part in self._parts()))

    def reads(self, memory: PEARLMemory, transition: Transitions) -> bool:
        """Whether the encoder can be computed here, and no other transitions are unread."""
        return self._possible and transition.reward.is_cpu and not memory.unread

    @np.errstate(over="ignore", invalid="ignore")  # The caller checks what is returned, as it does after PyTorch.
    def __call__(self, memory: PEARLMemory, transition: Transitions, active: Tensor, kept: float) -> PEARLMemory | None:
        """Return the memory after one transition of each active task, with z drawn anew; None if z is not finite.

        Args:
            memory: one row per task.
            transition: (task, …) each.
            active: (task,) bool.
            kept: share of the evidence before the transition that counts, above 0 and at most 1.
        """
        encoder, plays = self._encoder, active.numpy()
        assert isinstance(encoder, LinearGaussian)
        precision, weighted_mean, n_seen = (part.numpy() for part in memory.belief)
        eye = np.eye(encoder.latent_dim)
        if kept < 1:
            share = np.where(plays, kept, 1.0)
            precision = eye + share[:, np.newaxis, np.newaxis] * (precision - eye)
            weighted_mean, n_seen = weighted_mean * share[:, np.newaxis], n_seen * share
        direction, value = self._measure(transition, plays)
        precision = precision + direction[:, :, np.newaxis] * direction[:, np.newaxis, :]
        weighted_mean, n_seen = weighted_mean + direction * value, n_seen + plays
        mean, stddev = _posterior(precision, weighted_mean, n_seen, eye, encoder)
        z = mean + stddev * self._noise.of(memory.draws).numpy()
        if not is_finite(z):
            return None
        if not plays.all():
            row = plays[:, np.newaxis]
            z, mean = np.where(row, z, memory.z.numpy()), np.where(row, mean, memory.z_mean.numpy())
        return memory._replace(
            belief=GaussianBelief(*map(torch.from_numpy, (precision, weighted_mean, n_seen))),
            z=torch.from_numpy(z),
            z_mean=torch.from_numpy(mean),
            steps=memory.steps + active,
        )

    def _measure(self, transition: Transitions, active: Array) -> tuple[Array, Array]:
        """Return each task's direction h (task, latent_dim) and value y (task, 1); zeros where not ``active``."""
        encoder = self._encoder
        assert isinstance(encoder, LinearGaussian)
        assert self._network is not None
        read = self._inputs(transition)
        joined = np.concatenate([read[field] for field in encoder.context_fields], axis=1)
        if not active.all():
            joined[~active] = 0.0
        measurement = self._network(joined).astype(np.float64)
        longest = 1.0 / encoder.min_stddev
        length = np.sqrt(np.square(measurement[:, :-1]).sum(1, keepdims=True))
        measurement *= np.where(active[:, None], longest / np.maximum(length, longest), 0.0)
        return measurement[:, :-1], measurement[:, -1:]

    def _inputs(self, transition: Transitions) -> dict[str, Array]:
        """Return the fields as the encoder reads them, (task, width) each; see ``encoder_inputs``."""
        features, units = self._features, self._units
        assert isinstance(features, VectorFeatures)
        observation, reward, after = (
            part.numpy() for part in (transition.observation, transition.reward, transition.next_observation)
        )
        if units is None:
            following = features.in_numpy(after)
        else:
            assert units.change is not None
            offset, scale, _ = self._reward_unit.of(units.reward)
            reward = ((reward - offset) * scale).clip(-CLIP, CLIP)
            change = VectorFeatures.in_numpy(features, after - observation)
            following = (change * self._change_unit.of(units.change)[2]).clip(-CLIP, CLIP)
        return {
            "observation": features.in_numpy(observation),
            "action": self._actions.encode_in_numpy(transition.action.numpy()),
            "reward": reward[:, None],
            "next_observation": following,
        }

    def _parts(self) -> tuple[Any, ...]:
        return self._features, self._actions, self._units, self._encoder


class _Unit:
    """Offset and scales of running moments, computed anew when the moments change."""

    def __init__(self) -> None:
        # Replaced as a whole: threads may share it.
        self._known: tuple[tuple[bytes, bytes], tuple[Array, Array, Array]] | None = None

    def of(self, moments: RunningMoments) -> tuple[Array, Array, Array]:
        """Return the mean, one over the deviation and one over the root mean square, (dim,) each."""
        key, known = (moments.mean.numpy().tobytes(), moments.variance.numpy().tobytes()), self._known
        if known is None or known[0] != key:
            tensors = moments.mean.float(), moments.inverse_deviation(), moments.inverse_rms()
            mean, deviation, rms = (tensor.numpy() for tensor in tensors)
            known = self._known = key, (mean, deviation, rms)
        return known[1]


def _posterior(
    precision: Array, weighted_mean: Array, n_seen: Array, eye: Array, encoder: LinearGaussian
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the posterior's mean and standard deviation, as ``LinearGaussian.posterior``."""
    if math.isfinite(encoder.evidence_limit):
        weight = np.minimum(encoder.evidence_limit / np.maximum(n_seen, 1.0), 1.0)
        if (weight < 1).any():
            precision = eye + weight[:, None, None] * (precision - eye)
            weighted_mean = weighted_mean * weight[:, None]
    covariance = np.linalg.inv(precision)
    mean = np.einsum("tij,tj->ti", covariance, weighted_mean)
    variance = np.maximum(np.einsum("tii->ti", covariance), encoder.min_stddev**2)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)
