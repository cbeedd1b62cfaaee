"""Info dictionaries of vector environments: one per task, and arrays of the values that collection uses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from encoders.abbreviation import abbreviated

EACH = "each"
"""Key of the list of info dictionaries, one per task, as the environments returned them"""
TRAINING_REWARD = "training_reward"
SUCCESSES = ("is_success", "success")
"""Keys of the success flag; if a task gives both, the last one counts"""
COLLECTION_KEYS = (TRAINING_REWARD, *SUCCESSES)
"""Keys that collection uses; other keys have no effect"""


class EnvError(RuntimeError):
    """An environment failed or returned an invalid value; the message names its task.

    Args:
        message: the error message.
        row: the task's index in the vector environment; None if unknown.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class Numbers(NamedTuple):
    """The values of one info key as numbers."""

    values: NDArray[Any]
    """(task,)"""
    given: NDArray[np.bool_]
    """(task,), whether the task's info has the key"""


def labelled(row: int, labels: Sequence[object] | None, first_row: int = 0) -> str:
    """Return a task's index in the vector environment, with its label if it has one."""
    return f"task {row}" if labels is None else f"task {row} ({labels[row - first_row]})"


def merged(each: list[dict[str, Any]], labels: Sequence[object] | None = None, first_row: int = 0) -> dict[str, Any]:
    """Merge infos into a vector environment's info: the list under ``EACH``, and a float array per collection key.

    Gymnasium's own merge gives an array the type of its first value, so that the values depend on the tasks' order.

    Args:
        each: one info per task, empty for a task without one.
        labels: the tasks, for error messages.
        first_row: index of the first task.

    Raises:
        EnvError: a value under a key in ``COLLECTION_KEYS`` is not a number; the message names the task and the key.
    """
    infos: dict[str, Any] = {EACH: each}
    if not any(each):
        return infos
    for name in COLLECTION_KEYS:
        given = [name in info for info in each]
        if any(given):
            infos[name] = np.array(
                [
                    number(info[name], name, row, labels, first_row) if name in info else 0.0
                    for row, info in enumerate(each, first_row)
                ]
            )
            infos[f"_{name}"] = np.array(given)
    return infos


def number(value: Any, name: str, row: int, labels: Sequence[object] | None, first_row: int = 0) -> float:
    """Return the number under ``name`` in one task's info.

    Raises:
        EnvError: the value is not a number; the message names the task and the key.
    """
    if type(value) is float:
        return value
    if not is_number(value):
        shape = f" of the shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
        raise EnvError(
            f"info[{name!r}] of {labelled(row, labels, first_row)} must be one number, got {abbreviated(value)} "
            f"({type(value).__name__}{shape}). Leave the key out if there is no value.",
            row,
        )
    return float(np.asarray(value))


def is_number(value: Any) -> bool:
    """Return whether a value is a single number or boolean."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # Ragged lists, and objects that NumPy cannot convert.
        return False
    return array.ndim == 0 and array.dtype.kind in "biuf"


def read_numbers(
    infos: dict[str, Any], name: str, n_tasks: int, labels: Sequence[object] | None = None
) -> Numbers | None:
    """Return the numbers under ``name`` in a vector environment's info, or None if it lacks the key.

    Args:
        infos: the info; the mask ``infos["_name"]``, (task,) bool, marks the tasks that give a value, all if absent.
        name: the key.
        n_tasks: number of tasks.
        labels: the tasks, for error messages.

    Raises:
        EnvError: the array is not (task,), or a task's value is not a number.
    """
    if name not in infos:
        return None
    values = np.asarray(infos[name])
    mask = infos.get(f"_{name}")
    given = np.ones(n_tasks, np.bool_) if mask is None else np.asarray(mask, np.bool_)
    if values.shape != (n_tasks,) or given.shape != (n_tasks,):
        raise EnvError(
            f"The vector environment's infos[{name!r}] must hold one number per task, ({n_tasks},), got an array of "
            f"the shape {values.shape}."
        )
    if values.dtype.kind not in "biuf":
        rows = zip(values.tolist(), given, strict=True)
        values = np.array([number(value, name, row, labels) if own else 0.0 for row, (value, own) in enumerate(rows)])
    return Numbers(values, given)


def read_success(
    infos: dict[str, Any], n_tasks: int, labels: Sequence[object] | None = None
) -> NDArray[np.bool_] | None:
    """Return whether each task succeeded, (task,); None if no info has a success key.

    Raises:
        EnvError: as from ``read_numbers``.
    """
    found: NDArray[np.bool_] | None = None
    for name in SUCCESSES:
        numbers = read_numbers(infos, name, n_tasks, labels)
        if numbers is not None:
            elsewhere = np.zeros(n_tasks, np.bool_) if found is None else found
            found = np.where(numbers.given, numbers.values > 0, elsewhere)
    return found


def by_task(infos: dict[str, Any], active: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Split a vector environment's info into one dictionary per task, empty for tasks outside ``active``, (task,)."""
    playing, each = active.tolist(), infos.get(EACH)
    if not (isinstance(each, list) and len(each) == len(playing)):
        return _split(infos, playing)
    # Entries that a wrapper around the vector environment added.
    others = {
        name: value
        for name, value in infos.items()
        if name != EACH and str(name).removeprefix("_") not in COLLECTION_KEYS
    }
    if not others:
        return [info if own else {} for info, own in zip(each, playing, strict=True)]
    return [
        {**added, **info} if own else {}
        for added, info, own in zip(_split(others, playing), each, playing, strict=True)
    ]


def _split(infos: dict[str, Any], playing: list[bool]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in playing]
    for name, values in infos.items():
        if str(name).startswith("_") and str(name)[1:] in infos:
            continue
        mask = infos.get(f"_{name}", playing)
        if isinstance(values, dict):
            values = _split(values, playing)
        elif isinstance(values, np.ndarray) and values.ndim == 1:
            values = values.tolist()
        elif not (hasattr(values, "__len__") and len(values) == len(rows)) or isinstance(values, str):
            values = [values] * len(rows)
        for row, own, given, value in zip(rows, playing, mask, values, strict=True):
            if own and given:
                row[name] = value
    return rows


def keep_numbers(envs: VectorEnv[Any, Any, Any]) -> None:
    """Make Gymnasium's own vector environments merge the keys in ``COLLECTION_KEYS`` as floats.

    They give an array the type of its first value: after an integer 0, a 0.75 would be truncated to 0.
    """
    if isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv):
        base: Any = envs.unwrapped
        add = base._add_info
        base._add_info = lambda infos, info, row: add(infos, _as_floats(info), row)


def _as_floats(info: dict[str, Any]) -> dict[str, Any]:
    plain = int | float | np.bool_ | np.integer | np.floating
    numbers = {name: float(info[name]) for name in COLLECTION_KEYS if isinstance(info.get(name), plain)}
    return {**info, **numbers} if numbers else info
