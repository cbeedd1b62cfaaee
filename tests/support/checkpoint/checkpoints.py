"""Checkpoints of known content: written, compared bit for bit, and looked at file by file."""

import torch

from pearl.checkpoint.store import read_checkpoint, write_checkpoint


def example(value):
    groups = {
        "weights": {"actor.0": torch.full((3, 2), float(value)), "log_alpha": torch.tensor(value / 3)},
        "replay": {"rewards": torch.full((5,), value, dtype=torch.bfloat16), "terminated": torch.zeros(5).bool()},
    }
    return groups, {"value": value, "tasks": [{"velocity": 1.3}]}


def assert_holds(folder, value):
    found = read_checkpoint(folder)
    groups, document = example(value)
    assert found.document == document
    assert_same_groups(found.groups, groups)


def assert_same_groups(found, expected):
    assert list(found) == list(expected)
    for group in expected:
        assert list(found[group]) == list(expected[group])
        assert_same_tensors(found[group], expected[group])


def assert_same_tensors(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(found[name]) == bits(tensor), name


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def save_example(folder):
    write_checkpoint(folder, *example(1))
    return folder
