"""Contexts as inputs of the encoder: features, encoded actions, rewards and changes in running units or as given."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.finite import FLOAT32_MAX
from agents.networks.actions import Actions
from agents.networks.features import ImageFeatures, VectorFeatures
from agents.networks.moments import CLIP, RunningMoments
from agents.types import Transitions, Trials
from encoders import Context
from encoders.types import where_present


class RunningUnits(nn.Module):
    """Units of rewards and of changes of observations: their running moments in training, of all tasks together.

    What an action changes from one observation to the next is small beside the observations' own spread. Changes in
    units of their own are what tasks with different dynamics are told apart by.

    Args:
        features: of observations; those of images have no changes in a fixed unit.
    """

    def __init__(self, features: VectorFeatures | ImageFeatures) -> None:
        super().__init__()
        self.reward = RunningMoments(1)
        self.change = RunningMoments(features.dim) if isinstance(features, VectorFeatures) else None

    def see(self, trials: Trials, features: VectorFeatures | ImageFeatures) -> None:
        """Fold new trials into the moments."""
        transitions, mask = trials.transitions, trials.mask
        self.reward.see(transitions.reward[mask].unsqueeze(-1))
        if self.change is not None:
            assert isinstance(features, VectorFeatures)
            before, after = transitions.observation[mask], transitions.next_observation[mask]
            self.change.see(features.select(after - before))

    def rewards(self, reward: Tensor) -> Tensor:
        """Standardise rewards (…,)."""
        return self.reward.standardise(reward)

    def changes(self, change: Tensor) -> Tensor:
        """Scale changes of features (…, dim) by their root mean square."""
        assert self.change is not None
        # The difference of two finite numbers may be infinite.
        finite = change.clamp(-FLOAT32_MAX, FLOAT32_MAX)
        return (finite * self.change.inverse_rms()).clamp(-CLIP, CLIP)


def encoder_inputs(
    context: Context,
    features: VectorFeatures | ImageFeatures,
    actions: Actions[Any],
    units: RunningUnits | None,
    *,
    reads_next: bool,
) -> Context:
    """Return a context in the spaces' units as the encoder reads it; padding holds zeros or anything.

    Args:
        context: (task, step, …).
        features: of observations.
        actions: encodes actions.
        units: of rewards and of changes, which then replace next observations; None leaves both as they are.
        reads_next: whether the encoder reads next observations; features of images are expensive.
    """
    observation = where_present(features, context.observation, context.mask)
    reward = context.reward if units is None else units.rewards(context.reward)
    if not reads_next:
        next_observation = torch.zeros_like(observation)
    elif units is not None and isinstance(features, VectorFeatures):
        next_observation = units.changes(features.select(context.next_observation - context.observation))
    else:
        next_observation = where_present(features, context.next_observation, context.mask)
    return Context(observation, actions.encode(context.action), reward, next_observation, context.mask)


class NetworkInputs(NamedTuple):
    """Transitions as inputs of the networks; each (task, step, dim) or (task, step)."""

    observation: Tensor
    """Features, with their gradient"""
    action: Tensor
    reward: Tensor
    """In the environments' unit"""
    next_observation: Tensor
    """Features, without a gradient"""
    terminated: Tensor


def network_inputs(
    transitions: Transitions, features: VectorFeatures | ImageFeatures, actions: Actions[Any]
) -> NetworkInputs:
    """Return transitions, (task, step, …) in the spaces' units, as inputs of the networks."""
    with torch.no_grad():
        next_observation = features(transitions.next_observation)
    return NetworkInputs(
        features(transitions.observation),
        actions.encode(transitions.action),
        transitions.reward,
        next_observation,
        transitions.terminated,
    )
