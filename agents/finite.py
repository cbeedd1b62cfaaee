"""Finite numbers: observations, actions and memories hold no NaN and no infinity, or there is an error."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FLOAT32_MAX = float(np.finfo(np.float32).max)
ACTION_REMEDY = (
    "The observation or the belief is too large for its networks, or its weights are broken: "
    "load an earlier checkpoint."
)
"""Ends the error of an agent whose action is not finite"""


class NonFiniteError(ValueError):
    """A value, an action, a belief or a weight is NaN or infinite."""

    tasks: tuple[int, ...] = ()
    """Rows of the tasks whose memory is not finite; empty for other values"""


def is_finite(values: NDArray[Any]) -> bool:
    """Whether no number of an array is NaN or infinite."""
    # Either reaches the product, which is cheaper than a flag for each number. Finite ones may overflow in it.
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def is_finite_tensor(tensor: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    # As above: finite numbers may overflow in the sum, no others leave it finite.
    return not tensor.is_floating_point() or math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())


def check_log_probs(values: NDArray[Any]) -> None:
    """Refuse log-probabilities of actions, or logits, that are not finite.

    NaN would pass for the largest, so that an action like any other would follow.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    if not is_finite(values):
        raise NonFiniteError(
            f"The policy gives {values} for the actions to choose from, which is not finite. {ACTION_REMEDY}"
        )


def check_memory(name: str, tensors: Iterable[Tensor], seen: tuple[Tensor, ...] = ()) -> None:
    """Refuse a memory that is not finite before it replaces the one that it was made of.

    Args:
        name: of what the tensors are, for the message.
        tensors: with a row per task.
        seen: a ``Transitions`` or ``Context`` that was read, where the memory was made by reading one.

    Raises:
        NonFiniteError: a number is NaN or infinite; names the tasks, and the largest number that was read.
    """
    tensors = tuple(tensors)
    if all(map(is_finite_tensor, tensors)):
        return
    bad = {
        row
        for tensor in tensors
        for row in (~tensor.isfinite()).reshape(len(tensor), -1).any(1).nonzero().flatten().tolist()
    }
    sizes = [f"{kind} {_largest(values):g}" for kind, values in zip(getattr(seen, "_fields", ()), seen, strict=True)]
    read = f" after values up to {', '.join(sizes[:4])}" if sizes else ""
    error = NonFiniteError(
        f"{name} of task {', '.join(map(str, sorted(bad)))} would be NaN or infinite{read}, and was not taken over. "
        "Leave out such values or scale them down; where they are of the size met in training, the weights are broken."
    )
    error.tasks = tuple(sorted(bad))
    raise error


def _largest(values: Tensor) -> float:
    """Return the largest magnitude, by which a number out of proportion shows."""
    return float(values.double().abs().max()) if values.numel() else 0.0
