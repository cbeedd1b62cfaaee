"""Check that a checkpoint's tensors are finite, before writing and after reading."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from agents.finite import is_finite_tensor


class Fault(NamedTuple):
    """A tensor that is not finite."""

    group: str
    tensor: str
    n_bad: int
    """Count of NaN and infinite numbers"""
    n: int
    """Count of all numbers"""

    def __str__(self) -> str:
        return f"{self.tensor!r} of the {self.group} holds {self.n_bad} NaN or infinite numbers of {self.n}"


def first_fault(groups: Mapping[str, Mapping[str, Tensor]], *, without_temperature: bool = False) -> Fault | None:
    """Return the first tensor that is not finite; None if all are finite.

    Args:
        groups: tensors by group and name, as in a checkpoint.
        without_temperature: whether soft actor-critic's temperature is fixed to 0, whose logarithm is -inf.
    """
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if is_finite_tensor(tensor) or (without_temperature and name == "log_temperature" and tensor == -math.inf):
                continue
            return Fault(group, name, int((~tensor.isfinite()).sum()), tensor.numel())
    return None
