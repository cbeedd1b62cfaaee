"""A belief that takes in one transition, in NumPy: the overhead of PyTorch's calls exceeds the computation."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from agents.context.draws import LatestNoise, StratifiedDraws
from agents.context.inputs import RunningUnits
from agents.context.memory import PEARLMemory
from agents.finite import is_finite
from agents.kernels.transitions import TransitionsInNumPy
from agents.networks.actions import Actions
from agents.networks.features import ImageFeatures, NormalisedFeatures, VectorFeatures
from agents.types import Transitions
from encoders import ContextEncoder
from encoders.pooled.in_numpy import Array, Arrays, pooling_in_numpy


class FollowingInNumPy:
    """A step of ``PEARLAgent.observe`` with an encoder that pools, in NumPy; it equals PyTorch's up to rounding.

    Args:
        features: of observations.
        actions: encodes actions.
        units: of rewards and of changes of observations; None if the encoder reads both as they are.
        encoder: the agent's encoder.
        sweep: share of the way to the next draw of z that each step of an episode moves (``ExplorationConfig``).
    """

    def __init__(
        self,
        features: VectorFeatures | ImageFeatures,
        actions: Actions[Any],
        units: RunningUnits | None,
        encoder: ContextEncoder[Any],
        sweep: float,
    ) -> None:
        self._features, self._actions, self._units, self._encoder = features, actions, units, encoder
        self._sweep, self._latest = sweep, LatestNoise()
        self._pooling = pooling_in_numpy(encoder)
        self.reader: TransitionsInNumPy | None = None
        """Reads transitions as the encoder does, all fields; None for images"""
        if type(features) in (VectorFeatures, NormalisedFeatures):  # One of a subclass may compute something else.
            assert isinstance(features, VectorFeatures)
            moments = (None, None) if units is None else (units.reward, units.change)
            self.reader = TransitionsInNumPy(features, actions, *moments)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy with the layers of the copied encoder."""
        parts: tuple[Any, ...] = (self._features, self._actions, self._units, self._encoder, self._sweep)
        return type(self)(*(deepcopy(part, memo) for part in parts))

    @property
    def possible(self) -> bool:
        """Whether the encoder and the features have a form in NumPy."""
        return self._pooling is not None and self.reader is not None

    def step(
        self, belief: Arrays, rows: Array, plays: Array | None, kept: float, noise: Array
    ) -> tuple[Arrays, Array, Array, Array] | None:
        """Return the belief after one transition of each task, its mean, its standard deviation and a draw z.

        It is None if z is not finite. If z is, so are the mean and the standard deviation.

        Args:
            belief: one row per task.
            rows: the transitions as ``reader`` returns them, (task, width).
            plays: (task,) bool, whose transition counts; None if every one does.
            kept: share of the evidence before the transition that counts, above 0 and at most 1.
            noise: of the draw, (task, latent_dim).
        """
        assert self._pooling is not None
        assert self.reader is not None
        inputs = self.reader.select(rows, self._encoder.context_fields)
        if kept < 1:
            share = np.full(len(rows), kept) if plays is None else np.where(plays, kept, 1.0)
            belief = self._pooling.forget(belief, share)
        if plays is not None:
            inputs = np.where(plays[:, np.newaxis], inputs, np.float32(0))
        belief = self._pooling.update(belief, inputs, plays)
        mean, stddev = self._pooling.posterior(belief)
        z: Array = mean + stddev * noise
        return (belief, mean, stddev, z) if is_finite(z) else None

    def noise(self, draws: StratifiedDraws, steps: Array, latest: LatestNoise) -> Array:
        """Return each trial's noise ``steps`` (task,) after the episode's start, (task, latent_dim)."""
        if self._sweep == 0:
            return latest.of(draws)
        return draws.noise_in_numpy(np.float32(self._sweep) * steps.astype(np.float32))

    @np.errstate(all="ignore")  # What is returned is checked, as after PyTorch.
    def observe(self, memory: PEARLMemory, transition: Transitions, active: Tensor, kept: float) -> PEARLMemory | None:
        """Return the memory after one transition of each active task, with z drawn anew; None if it cannot be.

        It can be if the tensors are in the CPU's memory, no other transitions are unread, and z is finite.

        Args:
            memory: one row per task.
            transition: (task, …) each.
            active: (task,) bool.
            kept: share of the evidence before the transition that counts, above 0 and at most 1.
        """
        if not self.possible or memory.unread or not transition.reward.is_cpu:
            return None
        assert self.reader is not None
        active_rows: Array = active.numpy()
        plays = None if active_rows.all() else active_rows
        rows = self.reader(*[part.numpy() for part in transition[:4]])
        belief, steps = tuple([part.numpy() for part in memory.belief]), memory.steps.numpy() + active_rows
        found = self.step(belief, rows, plays, kept, self.noise(memory.draws, steps, self._latest))
        if found is None:
            return None
        belief, mean, _, z = found
        if plays is not None:
            row = plays[:, np.newaxis]
            z, mean = np.where(row, z, memory.z.numpy()), np.where(row, mean, memory.z_mean.numpy())
        return memory._replace(
            belief=type(memory.belief)(*map(torch.from_numpy, belief)),
            z=torch.from_numpy(z),
            z_mean=torch.from_numpy(mean),
            steps=torch.from_numpy(steps),
        )
