"""Checks that observations, actions and memories contain no NaN and no infinity."""

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
"""End of the error message about an action that is not finite"""


class NonFiniteError(ValueError):
    """A value, an action, a belief or a weight is NaN or infinite."""

    tasks: tuple[int, ...] = ()
    """Indices of the tasks whose memory is not finite; empty for other values"""


def is_finite(values: NDArray[Any]) -> bool:
    """Whether no number of an array is NaN or infinite."""
    # Both make the product NaN or infinite, and it is cheaper than a mask. Large finite numbers may overflow it too.
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def is_finite_tensor(tensor: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    # NaN and infinity make the sum NaN or infinite. Large finite numbers may overflow it too.
    return not tensor.is_floating_point() or math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())


def check_log_probs(values: NDArray[Any]) -> None:
    """Check that log-probabilities of actions, or logits, are finite.

    argmax takes NaN for the largest number, so that it would choose a valid action without an error.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    if not is_finite(values):
        raise NonFiniteError(
            f"The policy's log-probabilities are {values} for the actions to choose from; they must be finite. "
            f"{ACTION_REMEDY}"
        )


def check_memory(name: str, tensors: Iterable[Tensor], seen: tuple[Tensor, ...] = ()) -> None:
    """Check that a new memory is finite before it replaces the old one.

    Args:
        name: name of the tensors for the error message.
        tensors: the memory's tensors, one row per task.
        seen: the ``Transitions`` or ``Context`` that the memory was updated with; empty if there is none.

    Raises:
        NonFiniteError: a number is NaN or infinite; the message names the tasks, and the largest values in ``seen``.
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
        f"{name} of task {', '.join(map(str, sorted(bad)))} would be NaN or infinite{read}; it was left as it was. "
        "Leave out such values or scale them down. If values of this size occurred in training, the weights are broken."
    )
    error.tasks = tuple(sorted(bad))
    raise error


def _largest(values: Tensor) -> float:
    """Return the largest magnitude."""
    return float(values.double().abs().max()) if values.numel() else 0.0
