"""Checkpoints of known content: written, compared bit for bit, and looked at file by file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pearl.checkpoint.store import read_checkpoint, write_checkpoint

Tensors = Mapping[str, Tensor]


def example(value: int) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The groups of tensors and the document of a checkpoint that tells its value."""
    groups: dict[str, Tensors] = {
        "weights": {"actor.0": torch.full((3, 2), float(value)), "log_alpha": torch.tensor(value / 3)},
        "replay": {"rewards": torch.full((5,), value, dtype=torch.bfloat16), "terminated": torch.zeros(5).bool()},
    }
    return groups, {"value": value, "tasks": [{"velocity": 1.3}]}


def assert_holds(folder: Path, value: int) -> None:
    found = read_checkpoint(folder)
    groups, document = example(value)
    assert found.document == document
    assert_same_groups(found.groups, groups)


def assert_same_groups(found: Mapping[str, Tensors], expected: Mapping[str, Tensors]) -> None:
    assert list(found) == list(expected)
    for group in expected:
        assert list(found[group]) == list(expected[group])
        assert_same_tensors(found[group], expected[group])


def assert_same_tensors(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(found[name]) == bits(tensor), name


def bits(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def save_example(folder: Path) -> Path:
    write_checkpoint(folder, *example(1))
    return folder
