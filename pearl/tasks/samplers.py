"""Distributions of a task's parameters."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Sampler(Protocol):
    """Protocol of an object that draws one parameter of a task."""

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw one JSON value; the same generator state gives the same value."""


@dataclass(frozen=True)
class Uniform:
    """Floats uniform in [low, high).

    Raises:
        TypeError: a bound is not a number.
        ValueError: the bounds are not finite, or low is not below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform:
    """Floats in [low, high] whose logarithm is uniform, so that halving is as likely as doubling.

    Raises:
        TypeError: a bound is not a number.
        ValueError: the bounds are not finite and positive, or low is not below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"LogUniform needs positive bounds, got low={self.low!r} and high={self.high!r}.")

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        # Rounding may move the value just outside the bounds.
        return float(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Categorical:
    """One of several values, all equally likely.

    Args:
        values: JSON values; lists for parameters that are arrays.

    Raises:
        TypeError: the values are not a sequence, or one is not a JSON value.
        ValueError: there are no values, or one is NaN or infinite.
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not isinstance(self.values, Sequence):
            raise TypeError(f"Categorical needs a list of values, got {self.values!r}.")
        if not self.values:
            raise ValueError("Categorical needs at least one value, got none.")
        try:
            values = tuple(json.loads(json.dumps(value, allow_nan=False)) for value in self.values)
        except TypeError as error:
            raise TypeError(
                f"Categorical needs JSON values (numbers, strings, booleans, lists), got {self.values!r}: {error}. "
                "Convert numpy values with .tolist()."
            ) from error
        except ValueError as error:
            raise ValueError(f"Categorical needs finite values, got {self.values!r}.") from error
        object.__setattr__(self, "values", values)

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw one value."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True)
class Scale:
    """Factors that multiply the environment's own value; one factor scales a whole array.

    Args:
        sampler: draws the factors, numbers.

    Raises:
        TypeError: the argument is not a sampler, or is itself a ``Scale``.
    """

    sampler: Sampler

    def __post_init__(self) -> None:
        if isinstance(self.sampler, Scale) or not is_sampler(self.sampler):
            raise TypeError(f"Scale needs a sampler of factors, such as LogUniform(0.5, 2.0), got {self.sampler!r}.")

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one factor.

        Raises:
            TypeError: the sampler drew something other than a number.
        """
        factor = self.sampler.sample(rng)
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            raise TypeError(f"Scale multiplies by numbers, but {self.sampler!r} drew {factor!r}.")
        return float(factor)


def is_sampler(value: Any) -> bool:
    """Return whether ``value`` is an instance of a sampler; a sampler's class is not."""
    return isinstance(value, Sampler) and not isinstance(value, type)


def _check_bounds(sampler: Uniform | LogUniform, low: Any, high: Any) -> None:
    kind, given = type(sampler).__name__, f"low={low!r} and high={high!r}"
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (low, high)):
        raise TypeError(f"{kind} needs two numbers, got {given}.")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{kind} needs finite bounds, low under high, got {given}.")
