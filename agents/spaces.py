"""Gymnasium's spaces as agents see them: rows of numbers, one per task."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.images import MIN_SIDE, height_axis, is_ambiguous

MAX_DISCRETE_ACTIONS = 512

_COMPOSITE = (spaces.Dict, spaces.Tuple)
_FLATTENED = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete, *_COMPOSITE)
_DISCRETE = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def is_image(space: gym.Space[Any]) -> TypeGuard[spaces.Box[np.uint8]]:
    """Whether observations are images: uint8 from 0 to 255, with a height and a width (``height_axis``)."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype.kind == "u"  # faster than the next line
        and space.dtype == np.uint8
        and height_axis(space.shape) is not None
        and _spans_bytes(space)
    )


def is_discrete(space: gym.Space[Any]) -> bool:
    """Whether an action space is a finite set."""
    return isinstance(space, _DISCRETE)


def check_spaces(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> tuple[int, int]:
    """Return the widths of an observation's row and of an action's row.

    Raises:
        TypeError: a space is not supported.
        ValueError: the action space has no finite bounds with low under high, or too many actions; an image's height
            and width cannot be told from its channels, or some of its bounds are not 0 and 255.
    """
    _check_observations(observation_space, "observation")
    if isinstance(action_space, _DISCRETE):
        n_actions = len(_choices(action_space)) and math.prod(_choices(action_space))
        if n_actions > MAX_DISCRETE_ACTIONS:
            raise ValueError(
                f"{action_space} has {n_actions} actions; PEARL takes every combination as a separate action, up to "
                f"{MAX_DISCRETE_ACTIONS}. Leave combinations out with a wrapper, or make the action a Box."
            )
        return spaces.flatdim(observation_space), len(_choices(action_space))
    if not isinstance(action_space, spaces.Box):
        raise TypeError(
            f"PEARL needs a Box, Discrete, MultiDiscrete or MultiBinary as its action space, got {action_space}."
        )
    if action_space.dtype.kind != "f":
        raise TypeError(
            f"PEARL needs an action space of floats, got {action_space}; describe whole numbers as MultiDiscrete."
        )
    low, high = action_space.low.astype(np.float32), action_space.high.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        bounded = np.isfinite(high - low) & (high > low)
    if not bounded.all():
        raise ValueError(
            f"PEARL needs an action space with finite bounds, low under high, got {action_space}. "
            "Bound it with gymnasium.wrappers.RescaleAction or a Box with finite low and high."
        )
    return spaces.flatdim(observation_space), spaces.flatdim(action_space)


def observation_rows(space: gym.Space[Any], observations: Any) -> NDArray[Any]:
    """Return a copy of a batch of observations as rows (row, observation_dim): float32, or uint8 for images.

    Args:
        space: space of one observation. Dict, Tuple and discrete spaces are flattened as by Gymnasium.
        observations: a batch as a vector environment returns it.

    Raises:
        ValueError: images are not uint8.
    """
    if is_image(space):
        return _image_rows(space, observations)
    if isinstance(space, spaces.Box):
        return np.array(observations, np.float32).reshape(len(observations), -1)
    if isinstance(space, _COMPOSITE):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        return np.concatenate([observation_rows(part, observations[name]) for name, part in parts], axis=1)
    return np.stack([np.asarray(spaces.flatten(space, row), np.float32) for row in observations])


def observation_row(space: gym.Space[Any], observation: Any, name: str = "observation") -> NDArray[Any]:
    """Return one observation as a row (1, observation_dim). Errors call it ``name`` and add the wrong part.

    Numbers may have any type and may exceed a Box's bounds, as in the batches of a vector environment.

    Raises:
        ValueError: the observation does not have the space's form.
    """
    if isinstance(space, spaces.Box):
        array = as_numbers(observation, name)
        if array.shape != space.shape:
            raise ValueError(f"{name} must have the shape {space.shape}, got {array.shape}.")
        return _image_rows(space, array[None]) if is_image(space) else array.astype(np.float32).reshape(1, -1)
    if isinstance(space, _COMPOSITE):
        return np.concatenate([observation_row(*part) for part in _parts(space, observation, name)], axis=1)
    return np.asarray(spaces.flatten(space, _choice(space, observation, name)), np.float32)[None]


def checked_rows(space: gym.Space[Any], observations: Any, name: str = "observation") -> NDArray[Any]:
    """Check the form of a batch and return its rows as ``observation_rows`` does; ``name`` as in ``observation_row``.

    Raises:
        ValueError: the batch does not have the space's form.
    """
    if isinstance(space, _COMPOSITE):
        parts = list(_parts(space, observations, name))
        rows = [checked_rows(*part) for part in parts]
        for (_, _, place), found in zip(parts, rows, strict=True):
            if len(found) != len(rows[0]):
                raise ValueError(f"{place} has {len(found)} rows, {parts[0][2]} has {len(rows[0])}.")
        return np.concatenate(rows, axis=1)
    array, shape = as_numbers(observations, name), space.shape or ()
    if array.ndim == 0 or array.shape[1:] != shape:
        raise ValueError(f"{name} must have the shape {shape} or (row, …) with that of each, got {array.shape}.")
    if not isinstance(space, spaces.Box):
        observations = [_choice(space, row, name) for row in array]
    return observation_rows(space, observations) if len(array) else np.zeros((0, spaces.flatdim(space)), np.float32)


def is_single(space: gym.Space[Any], observation: Any) -> bool:
    """Whether a value is one observation of the space rather than a batch; True also if the value does not tell."""
    if isinstance(space, spaces.Dict):
        name, part = next(iter(space.spaces.items()))
        return not isinstance(observation, Mapping) or name not in observation or is_single(part, observation[name])
    if isinstance(space, spaces.Tuple):
        return (
            not isinstance(observation, tuple | list) or not observation or is_single(space.spaces[0], observation[0])
        )
    return bool(np.ndim(observation) == len(space.shape or ()))


def part_of(space: gym.Space[Any], column: int, name: str = "observation") -> tuple[str, slice]:
    """Return the part of an observation that a column belongs to: its path, as ``name['arm'][0]``, and its columns.

    Args:
        space: space of one observation.
        column: index of the column, from 0.
        name: name of the observation.
    """
    if not isinstance(space, _COMPOSITE):
        return name, slice(0, spaces.flatdim(space))
    start = 0
    for key, part in _named(space):
        width = spaces.flatdim(part)
        if column < start + width:
            place, columns = part_of(part, column - start, f"{name}[{key!r}]")
            return place, slice(start + columns.start, start + columns.stop)
        start += width
    raise IndexError(f"An observation of {space} has {start} columns, got {column}.")


def action_rows(space: gym.Space[Any], actions: Any) -> NDArray[np.float32]:
    """Return a batch of the space's actions as float32 rows (row, action_dim)."""
    array = np.asarray(actions, np.float32)
    return array.reshape(len(array), -1)


def env_actions(space: gym.Space[Any], rows: NDArray[np.float32]) -> NDArray[Any]:
    """Convert rows of actions (row, action_dim) to actions for an environment of that space, one per row."""
    actions: NDArray[Any] = rows.reshape(len(rows), *(space.shape or ())).astype(space.dtype)
    if isinstance(space, spaces.Box) and space.dtype != np.float32:
        # Rounding a bound from double to single precision can move it outside the space.
        actions = np.clip(actions, space.low, space.high)
    return actions


def check_action(space: gym.Space[Any], action: Any) -> None:
    """Check that an action has the space's shape and, for a finite set, is one of its actions.

    Raises:
        ValueError: the action has another shape, or is not in the set; the networks would read zeros for it.
    """
    if np.shape(action) != (space.shape or ()):
        raise ValueError(f"action must have the shape {space.shape}, got {np.shape(action)}.")
    if is_discrete(space) and not _is_action(space, np.asarray(action)):
        raise ValueError(f"action must be one of {space}, got {action!r}.")


def discrete_actions(space: gym.Space[Any]) -> NDArray[np.float32]:
    """Return every action of a finite space as a row, (n_actions, action_dim)."""
    return np.stack(np.meshgrid(*_choices(space, values=True), indexing="ij"), -1).reshape(-1, len(_choices(space)))


def _choices(space: gym.Space[Any], values: bool = False) -> list[Any]:
    """Return, for each entry of an action, the number of its values, or the values themselves."""
    if isinstance(space, spaces.Discrete):
        starts, counts = [int(space.start)], [int(space.n)]
    elif isinstance(space, spaces.MultiDiscrete):
        starts, counts = space.start.ravel().tolist(), space.nvec.ravel().tolist()
    else:
        assert isinstance(space, spaces.MultiBinary)
        starts, counts = [0] * math.prod(space.shape), [2] * math.prod(space.shape)
    if not values:
        return counts
    return [np.arange(start, start + n, dtype=np.float32) for start, n in zip(starts, counts, strict=True)]


def _is_action(space: gym.Space[Any], action: NDArray[Any]) -> bool:
    """Whether an array with the shape of a finite space is, in single precision, one of its actions."""
    action = action.astype(np.float32)
    if isinstance(space, spaces.Discrete):  # Python's numbers are faster than NumPy's.
        number = action.item()
        return bool(space.start <= number < space.start + space.n and number == int(number))
    low = space.start if isinstance(space, spaces.MultiDiscrete) else 0
    above = low + (space.nvec if isinstance(space, spaces.MultiDiscrete) else 2)
    return bool(((action >= low) & (action < above) & (action == np.floor(action))).all())


def _image_rows(space: spaces.Box[np.uint8], observations: Any) -> NDArray[np.uint8]:
    if np.asarray(observations).dtype != np.uint8:
        raise ValueError(
            f"observation must be uint8 as its space {space}, got {np.asarray(observations).dtype}: other values "
            "would be cut to bytes."
        )
    return np.array(observations).reshape(len(observations), -1)


def _spans_bytes(space: spaces.Box[np.uint8]) -> bool:
    # Only the first entry's bounds: reading all takes longer than copying an image. _check_observations reads all.
    return bool(space.high.item(0) == 255 and space.low.item(0) == 0)


def _named(space: spaces.Dict | spaces.Tuple[Any]) -> list[tuple[Any, gym.Space[Any]]]:
    return list(space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def _parts(
    space: spaces.Dict | spaces.Tuple[Any], observation: Any, name: str
) -> Iterator[tuple[gym.Space[Any], Any, str]]:
    """Return each part's space, value and path."""
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping):
            raise ValueError(f"{name} must be a mapping with the keys {list(space.spaces)}, got {observation!r}.")
        for key in [*space.spaces, *observation]:
            if key not in observation or key not in space.spaces:
                problem = "lacks the key" if key in space.spaces else "has no place for the key"
                raise ValueError(
                    f"{name} must have the keys {list(space.spaces)}, got {list(observation)}: it {problem} {key!r}."
                )
    elif not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
        raise ValueError(f"{name} must be a tuple of {len(space.spaces)} parts, got {observation!r}.")
    return ((part, observation[key], f"{name}[{key!r}]") for key, part in _named(space))


def as_numbers(values: Any, name: str) -> NDArray[Any]:
    """Return values as an array of numbers of any type.

    Raises:
        ValueError: the values are not numbers, are masked, or are not in the CPU's memory.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor with a gradient.
        raise ValueError(f"{name} must be an array of numbers, got {values!r}.") from error
    if array.dtype.kind not in "fiub" or (array is not values and np.ma.is_masked(values)):
        raise ValueError(f"{name} must be an array of numbers, got {values!r}.")
    return array


def _choice(space: gym.Space[Any], value: Any, name: str) -> Any:
    """Convert a value of any numeric type to the equal element of a finite set."""
    array = as_numbers(value, name)
    with np.errstate(invalid="ignore"):
        whole = array.astype(space.dtype)
    if array.shape != (space.shape or ()) or (whole != array).any() or not space.contains(whole[()]):
        raise ValueError(f"{name} must be one of {space}, got {value!r}.")
    return whole[()]


def _check_observations(space: gym.Space[Any], where: str) -> None:
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            _check_observations(part, f"{where}[{name!r}]")
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            _check_observations(part, f"{where}[{index}]")
    elif not isinstance(space, _FLATTENED):
        raise TypeError(
            f"PEARL cannot read the {where} space {space}. Boxes, Discrete, MultiDiscrete and MultiBinary spaces, and "
            "Dict and Tuple of these, are flattened into one vector; uint8 Boxes with a height and a width are images."
        )
    elif is_image(space) and where != "observation":
        raise TypeError(
            f"{where} is an image ({space}) among other observations; PEARL cannot read this combination. Make the "
            "image the whole observation, or turn it into features with a wrapper."
        )
    elif is_image(space) and (space.low.any() or space.high.min() < 255):
        raise ValueError(
            f"The {where} space of the shape {space.shape} has an image's size and type, but bounds other than 0 "
            "and 255 in places. If it is an image, give it these bounds everywhere. If not, flatten it with "
            "gymnasium.wrappers.FlattenObservation."
        )
    elif (
        isinstance(space, spaces.Box) and space.dtype == np.uint8 and is_ambiguous(space.shape) and _spans_bytes(space)
    ):
        raise ValueError(
            f"The {where} space {space} could be an image in more than one layout. PEARL takes two neighbouring axes "
            f"of at least {MIN_SIDE} pixels for height and width if every other axis, of channels or frames, is "
            f"shorter than {MIN_SIDE} or at most half as long. Transpose the observation, for example to (height, "
            "width, channel), with gymnasium.wrappers.TransformObservation, or split its channels over two axes with "
            "ReshapeObservation. If it is not an image, flatten it with FlattenObservation."
        )
