"""Transitions as the networks read them, in NumPy: observation, action, reward and what changes, in one row each."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
from torch import Tensor

from agents.networks.actions import Actions
from agents.networks.features import NormalisedFeatures, VectorFeatures
from agents.networks.moments import CLIP, RunningMoments
from encoders.pooled.in_numpy import Array
from encoders.types import CONTEXT_FIELDS


class TransitionsInNumPy:
    """``encoder_inputs`` of one transition of each task in NumPy; it equals PyTorch's up to rounding.

    Args:
        features: of observations.
        actions: encodes actions.
        reward: moments of rewards; None if they are read as they are.
        change: moments of changes of observations, which then replace next observations; None if those are read.
    """

    def __init__(
        self,
        features: VectorFeatures,
        actions: Actions[Any],
        reward: RunningMoments | None,
        change: RunningMoments | None,
    ) -> None:
        self._features, self._actions, self._reward, self._change = features, actions, reward, change
        ends = np.cumsum([features.dim, actions.encoded_width, 1, features.dim]).tolist()
        spans = map(slice, [0, *ends], ends)
        self._columns = dict(zip(CONTEXT_FIELDS, spans, strict=True))
        self._width = ends[-1]
        # What the units are computed from, in the modules' dictionaries: the lookup of an attribute takes longer.
        self._watched: list[tuple[dict[str, Any], str]] = []
        if isinstance(features, NormalisedFeatures):
            self._watched += [(features._buffers, "_offset"), (features._buffers, "_scale")]
        for moments in (reward, change):
            if moments is not None:
                self._watched += [(moments._buffers, "mean"), (moments._buffers, "variance")]
        self._chosen: dict[tuple[str, ...], slice | Array] = {}
        # Replaced as a whole: threads may share it.
        self._known: tuple[list[tuple[Tensor, int | None]], tuple[Array, ...]] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy with the moments of the copied parts, and without the arrays made from them."""
        parts: tuple[Any, ...] = (self._features, self._actions, self._reward, self._change)
        return type(self)(*(deepcopy(part, memo) for part in parts))

    def __call__(self, observation: Array, action: Array, reward: Array, next_observation: Array) -> Array:
        """Return the rows of all fields, (task, width): single precision, in the order of ``CONTEXT_FIELDS``."""
        before, done, earned, after = self._columns.values()
        kept = self._features.kept()
        if kept is not None:
            observation, next_observation = observation[:, kept], next_observation[:, kept]
        rows = np.empty((len(reward), self._width), np.float32)
        rows[:, before], rows[:, earned.start] = observation, reward
        rows[:, done] = self._actions.encode_in_numpy(action)
        if self._change is None:
            rows[:, after] = next_observation
        else:
            np.subtract(next_observation, observation, out=rows[:, after])
        offset, scale, low, high, constant = self._units()
        rows -= offset
        rows *= scale
        if len(constant) > 0:
            rows[:, constant] = 0.0  # also where the number is too large: infinity times 0 is NaN
        np.maximum(rows, low, out=rows)
        np.minimum(rows, high, out=rows)
        return rows

    def select(self, rows: Array, fields: tuple[str, ...]) -> Array:
        """Return the columns of some fields, in their order."""
        chosen = self._chosen.get(fields)
        if chosen is None:
            columns = np.concatenate([np.arange(self._width)[self._columns[field]] for field in fields])
            start, stop = int(columns[0]), int(columns[-1]) + 1
            # A slice copies nothing.
            chosen = slice(start, stop) if np.array_equal(columns, np.arange(start, stop)) else columns
            self._chosen[fields] = chosen
        return rows[:, chosen]

    def with_changes(self, rows: Array) -> Array:
        """Return the rows (task, width) with the change of the observation in the place of the next observation."""
        if self._change is not None:
            return rows
        changed, after = rows.copy(), self._columns["next_observation"]
        changed[:, after] -= rows[:, self._columns["observation"]]
        return changed

    def _units(self) -> tuple[Array, ...]:
        """Return each column's offset, scale, lowest and highest value, and the columns whose scale is 0.

        They are computed anew when the moments change; PyTorch counts the changes of a tensor. Inference tensors have
        no count, and do not change.
        """
        known = self._known
        if known is not None:
            for (held, name), (tensor, version) in zip(self._watched, known[0], strict=True):
                if held[name] is not tensor or (version is not None and tensor._version != version):
                    break
            else:
                return known[1]
        tensors = [held[name] for held, name in self._watched]
        versions = [None if tensor.is_inference() else tensor._version for tensor in tensors]
        units = self._computed()
        self._known = list(zip(tensors, versions, strict=True)), units
        return units

    def _computed(self) -> tuple[Array, ...]:
        before, _, earned, after = self._columns.values()
        offset, scale = np.zeros(self._width, np.float32), np.ones(self._width, np.float32)
        reach = np.full(self._width, np.inf, np.float32)
        features = self._features
        if isinstance(features, NormalisedFeatures):
            places = [before] if self._change is not None else [before, after]
            for place in places:
                offset[place], scale[place], reach[place] = features._offset.numpy(), features._scale.numpy(), CLIP
        if self._reward is not None:
            offset[earned], scale[earned] = self._reward.mean.numpy(), self._reward.inverse_deviation().numpy()
            reach[earned] = CLIP
        if self._change is not None:
            scale[after], reach[after] = self._change.inverse_rms().numpy(), CLIP
        return offset, scale, -reach, reach, np.flatnonzero(scale == 0)
