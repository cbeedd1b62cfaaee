"""Pooled beliefs in NumPy: for one transition, the overhead of PyTorch's calls exceeds the computation."""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.base import ContextEncoder
from encoders.mlp_in_numpy import LayersInNumPy
from encoders.pooled.features import MaxPooledFeatures, MeanAggregator, PooledFeatures
from encoders.pooled.gaussian_product import ProductOfGaussians
from encoders.pooled.linear_gaussian import LinearGaussian

Array = NDArray[Any]
Arrays = tuple[Array, ...]
"""The fields of an encoder's belief"""
EncoderT = TypeVar("EncoderT", bound=ContextEncoder[Any])


class PoolingInNumPy(ABC, Generic[EncoderT]):
    """``forget``, ``update`` and ``posterior`` of an encoder in NumPy; they equal PyTorch's up to rounding.

    Args:
        encoder: the encoder, whose weights are shared.
    """

    def __init__(self, encoder: EncoderT) -> None:
        self._encoder = encoder

    @abstractmethod
    def forget(self, belief: Arrays, share: Array) -> Arrays:
        """Return a belief with a share (task,) of its evidence."""

    @abstractmethod
    def update(self, belief: Arrays, inputs: NDArray[np.float32], plays: Array | None) -> Arrays:
        """Fold one transition of each task into the belief.

        Args:
            belief: one row per task.
            inputs: (task, input_dim), as ``ContextEncoder.inputs``.
            plays: (task,) bool, whose transition counts; None if every one does.
        """

    @abstractmethod
    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        """Return the mean and the standard deviation of q(z | c), (task, latent_dim) each, in single precision."""


class _LinearGaussian(PoolingInNumPy[LinearGaussian]):
    def __init__(self, encoder: LinearGaussian) -> None:
        super().__init__(encoder)
        self._network = LayersInNumPy(encoder.network)

    @cached_property
    def _eye(self) -> Array:
        # Made when it is needed: an agent without memory for its weights describes a document's.
        return np.eye(self._encoder.latent_dim)

    def forget(self, belief: Arrays, share: Array) -> Arrays:
        precision, weighted_mean, n_seen = belief
        row = share[:, np.newaxis]
        return self._weighed(precision, row), weighted_mean * row, n_seen * share

    def update(self, belief: Arrays, inputs: NDArray[np.float32], plays: Array | None) -> Arrays:
        precision, weighted_mean, n_seen = belief
        measurement = self._network(inputs).astype(np.float64)
        direction = measurement[:, :-1]
        limit = self._encoder.min_stddev**-2  # of the squared length
        if not np.vdot(direction, direction) <= limit:  # Otherwise no row is longer.
            squares = np.square(direction).sum(1, keepdims=True)
            measurement *= np.sqrt(limit / np.maximum(squares, limit))
        if plays is not None:
            measurement *= plays[:, np.newaxis]
        precision = precision + direction[:, :, np.newaxis] * direction[:, np.newaxis, :]
        return precision, weighted_mean + direction * measurement[:, -1:], n_seen + (1.0 if plays is None else plays)

    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        precision, weighted_mean, n_seen = belief
        weight = _excess_weight(self._encoder, n_seen)
        if weight is not None:
            precision, weighted_mean = self._weighed(precision, weight), weighted_mean * weight
        covariance = np.linalg.inv(precision)
        mean = (covariance @ weighted_mean[:, :, np.newaxis])[:, :, 0]
        variance = np.maximum(covariance.diagonal(0, 1, 2), self._encoder.min_stddev**2)
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)

    def _weighed(self, precision: Array, weight: Array | float) -> Array:
        weighed: Array = precision - self._eye
        weighed *= weight if isinstance(weight, float) else weight[:, np.newaxis]
        weighed += self._eye
        return weighed


class _ProductOfGaussians(PoolingInNumPy[ProductOfGaussians]):
    def __init__(self, encoder: ProductOfGaussians) -> None:
        super().__init__(encoder)
        self._network = LayersInNumPy(encoder.network)

    def forget(self, belief: Arrays, share: Array) -> Arrays:
        precision, weighted_mean, n_seen = belief
        share = share.astype(np.float32)
        row = share[:, np.newaxis]
        return 1 + row * (precision - 1), weighted_mean * row, n_seen * share

    def update(self, belief: Arrays, inputs: NDArray[np.float32], plays: Array | None) -> Arrays:
        mean, raw_variance = np.split(self._network(inputs), 2, axis=1)
        precision = 1 / (_softplus(raw_variance) + np.float32(self._encoder.min_stddev**2))
        if plays is not None:
            precision *= plays[:, np.newaxis]
        before, weighted_mean, n_seen = belief
        return before + precision, weighted_mean + precision * mean, _counted(n_seen, plays)

    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        precision, weighted_mean, n_seen = belief
        weight = _excess_weight(self._encoder, n_seen)
        if weight is not None:
            precision, weighted_mean = 1 + weight * (precision - 1), weighted_mean * weight
        return weighted_mean / precision, np.maximum(1 / np.sqrt(precision), np.float32(self._encoder.min_stddev))


class _Pooled(PoolingInNumPy[Any]):
    """Base class: the belief is a sum of features, or their maximum."""

    def __init__(self, encoder: PooledFeatures | MeanAggregator | MaxPooledFeatures) -> None:
        super().__init__(encoder)
        self._features = LayersInNumPy(encoder.features)

    def forget(self, belief: Arrays, share: Array) -> Arrays:
        feature_sum, n_seen = belief
        share = share.astype(np.float32)
        return feature_sum * share[:, np.newaxis], n_seen * share

    def update(self, belief: Arrays, inputs: NDArray[np.float32], plays: Array | None) -> Arrays:
        features = self._features(inputs)
        if plays is not None:
            features *= plays[:, np.newaxis]
        return self._pool(belief[0], features), _counted(belief[1], plays)

    def _pool(self, pooled: Array, features: Array) -> Array:
        pooled = pooled + features
        return pooled


class _PooledFeatures(_Pooled):
    def __init__(self, encoder: PooledFeatures) -> None:
        super().__init__(encoder)
        self._head = LayersInNumPy(encoder.head)

    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        feature_sum, n_seen = belief
        amount = np.log1p(np.minimum(n_seen, np.float32(self._encoder.evidence_limit)))[:, np.newaxis]
        summary = np.concatenate([feature_sum / np.maximum(n_seen, 1)[:, np.newaxis], amount], axis=1)
        return _read(self._head, summary, n_seen, self._encoder.min_stddev)


class _MeanAggregator(_Pooled):
    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        mean = belief[0] / np.maximum(belief[1], 1)[:, np.newaxis]
        return mean, np.zeros_like(mean)


class _MaxPooledFeatures(_Pooled):
    def __init__(self, encoder: MaxPooledFeatures) -> None:
        super().__init__(encoder)
        self._head = LayersInNumPy(encoder.head)

    def forget(self, belief: Arrays, share: Array) -> Arrays:
        raise TypeError("A maximum over transitions cannot forget evidence.")

    def _pool(self, pooled: Array, features: Array) -> Array:
        return np.maximum(pooled, features)  # It is never below 0, so that zeros change nothing.

    def posterior(self, belief: Arrays) -> tuple[Array, Array]:
        return _read(self._head, belief[0], belief[1], self._encoder.min_stddev)


_FORMS: dict[type[ContextEncoder[Any]], type[PoolingInNumPy[Any]]] = {
    LinearGaussian: _LinearGaussian,
    ProductOfGaussians: _ProductOfGaussians,
    PooledFeatures: _PooledFeatures,
    MeanAggregator: _MeanAggregator,
    MaxPooledFeatures: _MaxPooledFeatures,
}


def pooling_in_numpy(encoder: ContextEncoder[Any]) -> PoolingInNumPy[Any] | None:
    """Return an encoder's form in NumPy; None if it has none. One of a subclass may compute something else."""
    form = _FORMS.get(type(encoder))
    return None if form is None else form(encoder)


def _read(head: LayersInNumPy, summary: NDArray[np.float32], n_seen: Array, min_stddev: float) -> tuple[Array, Array]:
    """Do as ``FeatureEncoder.read``."""
    mean, raw_stddev = np.split(head(summary), 2, axis=1)
    stddev = _softplus(raw_stddev + np.float32(0.5)) + np.float32(min_stddev)
    seen = (n_seen > 0)[:, np.newaxis]
    if seen.all():
        return mean, stddev
    return np.where(seen, mean, np.float32(0)), np.where(seen, stddev, np.float32(1))


def _counted(n_seen: Array, plays: Array | None) -> Array:
    counted: Array = n_seen + np.float32(1) if plays is None else n_seen + plays
    return counted


def _softplus(values: NDArray[np.float32]) -> NDArray[np.float32]:
    softplus: NDArray[np.float32] = np.logaddexp(values, np.float32(0))
    return softplus


def _excess_weight(encoder: ContextEncoder[Any], n_seen: Array) -> Array | float | None:
    """Return the weight of each task's evidence (``evidence_weight``), (task, 1) or one for all; None where it is 1."""
    limit = encoder.evidence_limit
    if len(n_seen) == 1:  # Python's numbers are faster than NumPy's.
        count: float = n_seen.item()
        return None if count <= limit else limit / count
    if math.isinf(limit) or n_seen.max() <= limit:
        return None
    weight: Array = np.minimum(limit / np.maximum(n_seen, 1), 1)[:, np.newaxis]
    return weight
