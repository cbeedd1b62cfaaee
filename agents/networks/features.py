"""Features of observations as inputs of networks: the vector itself, the normalised vector, or image features."""

import math
from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.config import FeaturesConfig
from agents.images import height_axis
from agents.networks.moments import CLIP, fold_moments, inverse_deviation
from agents.spaces import is_image

_LOWEST, _HIGHEST = np.array(-CLIP, np.float32), np.array(CLIP, np.float32)


class VectorFeatures(nn.Module):
    """Observations without the ignored entries.

    Args:
        observation_dim: width of an observation.
        ignored: indices of the entries to leave out.

    Raises:
        ValueError: an index is out of range or repeated, or no entry is left.
    """

    _kept: Tensor | None

    def __init__(self, observation_dim: int, ignored: Sequence[int] = ()) -> None:
        super().__init__()
        kept = [entry for entry in range(observation_dim) if entry not in ignored]
        if ignored and (not kept or len(kept) + len(ignored) != observation_dim):
            raise ValueError(
                "agent.observations.ignored must name different entries of the observation, from 0 to "
                f"{observation_dim - 1}, and leave at least one; got {tuple(ignored)}."
            )
        self.dim = len(kept)
        self.register_buffer("_kept", torch.tensor(kept) if ignored else None, persistent=False)

    def select(self, observation: Tensor) -> Tensor:
        """Return the entries (…, dim) that are not ignored."""
        return observation if self._kept is None else observation.index_select(-1, self._kept)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the observations without the ignored entries, (…, dim)."""
        return self.select(observation)

    def in_numpy(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute ``forward`` in NumPy."""
        kept = self.kept()
        return observation if kept is None else observation[:, kept]

    def kept(self) -> NDArray[np.int64] | None:
        """Return the indices of the entries that are not ignored; None if none is ignored."""
        kept = self._buffers["_kept"]  # Faster than the lookup of a module's attribute.
        return None if kept is None else kept.numpy()


class NormalisedFeatures(VectorFeatures):
    """Observations normalised by their running mean and standard deviation, which are part of the agent's weights.

    Only meta-training updates the statistics, with the observations of all tasks. Adaptation leaves them unchanged. An
    entry that never varied in training is 0.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    _offset: Tensor
    _scale: Tensor

    def __init__(self, observation_dim: int, ignored: Sequence[int] = ()) -> None:
        super().__init__(observation_dim, ignored)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(self.dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(self.dim, dtype=torch.float64))
        # Precomputed: every step reads them, and updates are rare.
        self.register_buffer("_offset", torch.zeros(self.dim), persistent=False)
        self.register_buffer("_scale", torch.ones(self.dim), persistent=False)
        self.register_load_state_dict_post_hook(NormalisedFeatures._follow)  # type: ignore[no-untyped-call]

    def forward(self, observation: Tensor) -> Tensor:
        """Return normalised observations, (…, dim), within ``CLIP``."""
        return (self.select(observation) - self._offset).mul_(self._scale).clamp_(-CLIP, CLIP)

    def in_numpy(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute ``forward`` in NumPy."""
        buffers: dict[str, Any] = self._buffers
        rows: NDArray[np.float32] = super().in_numpy(observation) - buffers["_offset"].numpy()
        rows *= buffers["_scale"].numpy()
        np.minimum(rows, _HIGHEST, out=rows)
        np.maximum(rows, _LOWEST, out=rows)
        return rows

    def constant_entries(self) -> list[int]:
        """Return the numbers of the observation's entries that never varied in what was seen."""
        constant = (self._scale == 0).nonzero().squeeze(1)
        return cast(list[int], (constant if self._kept is None else self._kept[constant]).tolist())

    @torch.no_grad()
    def see(self, observation: Tensor) -> None:
        """Fold observations (row, observation_dim) into the running mean and variance."""
        fold_moments(self.count, self.mean, self.variance, self.select(observation))
        self._follow()

    @torch.no_grad()
    def _follow(self, *_: object) -> None:
        """Recompute offset and scale from the running mean and variance."""
        self._offset.copy_(self.mean)
        self._scale.copy_(inverse_deviation(self.mean, self.variance))


class ImageFeatures(nn.Module):
    """Features of an image, shared by encoder, actor and critics. The encoder's losses train them.

    The first convolution has stride 4 and kernels of 8 pixels, the others stride 2 and kernels of 4. Smaller strides
    would overlap more, and the overlap is most of the cost on a CPU.

    Args:
        shape: shape of an image, in any layout that ``height_axis`` recognises.
        channels: output channels of the convolutions.
        dim: width of the features.

    Raises:
        ValueError: the shape is not an image's, or the image is too small for the number of convolutions.
    """

    _unit: Tensor

    def __init__(self, shape: tuple[int, ...], channels: tuple[int, ...], dim: int) -> None:
        super().__init__()
        axis = height_axis(shape)
        if axis is None:
            raise ValueError(f"{shape} is not the shape of an image.")
        self.shape = shape if len(shape) > 2 else (*shape, 1)
        self.dim = dim
        others = [other for other in range(len(self.shape)) if other not in (axis, axis + 1)]
        # From (image, *shape) to (image, *channels, height, width).
        self._order = [0, *(1 + other for other in (*others, axis, axis + 1))]
        # A tensor: the product of a Python float with bytes would have PyTorch's default precision.
        self.register_buffer("_unit", torch.tensor(1 / 255, dtype=torch.float32), persistent=False)
        layers: list[nn.Module] = []
        sides = height, width = shape[axis : axis + 2]
        depth = math.prod(self.shape[other] for other in others)
        for number, out in enumerate(channels):
            stride = 2 if number else 4
            layers += [nn.Conv2d(depth, out, 2 * stride, stride=stride, padding=stride // 2), nn.ReLU()]
            height, width, depth = height // stride, width // stride, out
        if min(height, width) < 1:
            raise ValueError(
                f"Images of {sides[0]} x {sides[1]} pixels are too small for {len(channels)} convolutions, which "
                f"shrink them {2 ** (len(channels) + 1)} times. Give agent.observations.image_channels fewer numbers."
            )
        self.network = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(height * width * depth, dim), nn.LayerNorm(dim), nn.Tanh()
        )

    def forward(self, observation: Tensor) -> Tensor:
        """Return features (…, dim) of uint8 images as rows, (…, height * width * channel) in the layout's order."""
        # Scale before moving the channels: the reverse order copies with large strides, as slow as all the rest.
        images = torch.mul(observation.reshape(-1, *self.shape), self._unit).sub_(0.5).permute(self._order)
        features: Tensor = self.network(images.flatten(1, -3)).float()
        return features.view(*observation.shape[:-1], self.dim)


def make_features(space: gym.Space[Any], config: FeaturesConfig) -> VectorFeatures | ImageFeatures:
    """Build the features of observations of ``space``.

    Raises:
        ValueError: the settings ignore parts of images, or entries that do not exist.
    """
    observations = config.observations
    if is_image(space):
        if observations.ignored:
            raise ValueError("agent.observations.ignored is for vectors; images are read whole. Leave it out.")
        assert space.shape is not None
        return ImageFeatures(space.shape, observations.image_channels, observations.image_features)
    kind = NormalisedFeatures if observations.normalise else VectorFeatures
    return kind(gym.spaces.flatdim(space), observations.ignored)
