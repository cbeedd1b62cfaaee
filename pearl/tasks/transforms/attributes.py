"""The attributes that hold an environment's task, found by comparing new environments of two tasks.

A new environment has no history, so its attributes that differ from those of another task's are the task's. Moved into
a running environment, they change its task and leave its state.
"""

import dataclasses
import pickle
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from types import CellType, FunctionType, MappingProxyType, MethodType
from typing import Any, NamedTuple

import numpy as np

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type, np.generic, np.dtype)
_STATES = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)

_HEAP_TYPE = 1 << 9
"""CPython's flag of classes that a class statement makes"""


class UnmovableError(Exception):
    """The task of an environment cannot be told from its state; the message is a clause that says why."""


class Difference(NamedTuple):
    """An attribute whose values differ."""

    path: tuple[Any, ...]
    """Names of attributes and ``_Item`` of containers that lead to it"""
    old: Any
    new: Any

    def __str__(self) -> str:
        return _shown(self.path)


class _Item(NamedTuple):
    """A place in a list or a dictionary."""

    key: Any

    def read(self, owner: Any) -> Any:
        return owner[self.key]


def move_task(old: Any, new: Any, running: Any) -> None:
    """Move the attributes in which two new environments differ into a running one; everything else stays.

    Within arrays, lists and dictionaries of numbers only the entries that differ are moved.

    Args:
        old: a new environment of the task of ``running``.
        new: a new environment of another task.
        running: the environment to move.

    Raises:
        UnmovableError: a difference has no counterpart in ``running``, or attributes cannot be compared.
    """
    copies: dict[int, Any] = {}
    for found in list(differences(old, new)):
        *parents, last = found.path
        try:
            owner = running
            for place in parents:
                owner = _read(owner, place)
            value = _merged(found.old, found.new, _read(owner, last), copies)
        except (LookupError, TypeError) as error:
            raise UnmovableError(f"its attribute {found} has another form than in a new environment") from error
        if isinstance(last, _Item):
            owner[last.key] = value
        else:
            # Not setattr: a property of this name would compute further attributes, which are moved themselves.
            vars(owner)[last] = value


def differences(old: Any, new: Any, path: tuple[Any, ...] = (), seen: set[int] | None = None) -> Iterator[Difference]:
    """Yield the attributes in which two objects differ; generators of random numbers and MuJoCo's state never do.

    Args:
        old: an object of any kind, such as an environment.
        new: another one.
        path: the way to both, for the differences and for errors.
        seen: ids of the objects that are not to be compared again.

    Raises:
        UnmovableError: two values cannot be compared, for example those of a library in C.
    """
    seen = set() if seen is None else seen
    if old is new or _is_state(old) or id(old) in seen:
        return
    if _is_data(old) and _is_data(new):
        if not _same(old, new):
            yield Difference(path, old, new)
        return
    if type(old) is not type(new):
        raise UnmovableError(
            f"its attribute {_shown(path)} is a {_kind(old)} in one task and a {_kind(new)} in another"
        )
    if isinstance(old, MethodType):
        if old.__func__ is not new.__func__:
            raise UnmovableError(f"its attribute {_shown(path)} is another method in another task")
    elif (places := _places(old)) is not None:
        # Not functions and models: they are replaced wherever they are held, not changed where they are.
        seen.add(id(old))
        if places != _places(new):
            raise UnmovableError(f"its attribute {_shown(path)} has other parts in another task")
        for place in places:
            yield from differences(_read(old, place), _read(new, place), (*path, place), seen)
    elif isinstance(old, FunctionType):
        if not _same_function(old, new, path, seen):
            yield Difference(path, old, new)
    elif _is_model(old):
        if _model_bytes(old) != _model_bytes(new):
            yield Difference(path, old, new)
    elif not _same_pickles(old, new):
        raise UnmovableError(f"its attribute {_shown(path)}, a {_kind(old)}, cannot be compared between tasks")


def _same_function(old: FunctionType, new: FunctionType, path: tuple[Any, ...], seen: set[int]) -> bool:
    """Return whether two functions do the same with equal values.

    Raises:
        UnmovableError: they differ and hold objects, which would be those of another environment.
    """
    held, its = _captured(old), _captured(new)
    if old.__code__ == new.__code__:
        inside = seen | {id(old)}  # A function may hold itself.
        if not any(True for one, other in zip(held, its, strict=True) for _ in differences(one, other, path, inside)):
            return True
    if not _is_data(its):
        raise UnmovableError(f"its attribute {_shown(path)} is a function that holds objects of another task")
    return False


def _captured(function: FunctionType) -> list[Any]:
    cells: tuple[CellType, ...] = function.__closure__ or ()
    return [*(cell.cell_contents for cell in cells), function.__defaults__, function.__kwdefaults__]


def _places(value: Any) -> list[Any] | None:
    """Return the attributes or items of an object or container in Python; None for any other value."""
    if isinstance(value, dict):
        return [_Item(key) for key in value]
    if isinstance(value, list | tuple):
        return [_Item(index) for index in range(len(value))]
    if isinstance(value, FunctionType | MethodType | partial):
        return None
    # Objects of libraries in C may have attributes too, but their content lies elsewhere.
    in_python = all(base is object or base.__flags__ & _HEAP_TYPE for base in type(value).__mro__)
    if hasattr(value, "__dict__") and in_python:
        return sorted(vars(value))
    return None


def _read(owner: Any, place: Any) -> Any:
    return place.read(owner) if isinstance(place, _Item) else vars(owner)[place]


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind != "O")
    if isinstance(value, Mapping) and isinstance(value, dict | MappingProxyType):
        return all(_is_data(item) for pair in value.items() for item in pair)
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_data, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind: Any = type(value)
        items = (getattr(value, field.name) for field in dataclasses.fields(value))
        return bool(kind.__dataclass_params__.frozen) and all(map(_is_data, items))
    return isinstance(value, _ATOMS)


def _same(old: Any, new: Any) -> bool:
    if type(old) is not type(new):
        return False
    if isinstance(old, np.ndarray):
        return old.dtype == new.dtype and bool(np.array_equal(old, new, equal_nan=old.dtype.kind in "fc"))
    if isinstance(old, Mapping):
        return old.keys() == new.keys() and all(_same(item, new[key]) for key, item in old.items())
    if isinstance(old, tuple | list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new or (old != old and new != new))


def _merged(old: Any, new: Any, running: Any, copies: dict[int, Any]) -> Any:
    """Return the running value with the entries that differ between old and new; the running value is not changed.

    Raises:
        TypeError: the running value has entries of another form.
    """
    if _is_data(old) and _same(old, new):
        return running
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray) and (old.shape, old.dtype) == (new.shape, new.dtype):
        if np.shape(running) != new.shape:
            raise TypeError
        return np.where(old == new, running, new).astype(new.dtype)
    if isinstance(old, dict | list | tuple) and type(old) is type(new) and _places(old) == _places(new):
        if type(running) is not type(new) or _places(running) != _places(new):
            raise TypeError
        items = [_merged(old[place.key], new[place.key], running[place.key], copies) for place in _places(new) or ()]
        if isinstance(new, dict):
            return dict(zip(new, items, strict=True))
        return new._make(items) if hasattr(new, "_make") else type(new)(items)
    return deepcopy(new, copies)


def _is_state(value: Any) -> bool:
    return isinstance(value, _STATES) or _is_of_mujoco(value, "MjData")


def _is_model(value: Any) -> bool:
    return _is_of_mujoco(value, "MjModel")


def _is_of_mujoco(value: Any, name: str) -> bool:
    return type(value).__name__ == name and type(value).__module__.startswith("mujoco")


def _model_bytes(model: Any) -> bytes:
    import mujoco

    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


def _same_pickles(old: Any, new: Any) -> bool:
    try:
        return pickle.dumps(old) == pickle.dumps(new)
    except Exception:  # An object of a foreign library may raise anything.
        return False


def _kind(value: Any) -> str:
    return type(value).__name__


def _shown(path: tuple[Any, ...]) -> str:
    text = "".join(f"[{place.key!r}]" if isinstance(place, _Item) else f".{place}" for place in path)
    # The wrappers lead to the environment by the attribute env.
    while text.startswith(".env."):
        text = text.removeprefix(".env")
    return text.removeprefix(".")
