"""A checkpoint's files: what is written is read back bit for bit, and what could not be is refused."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from pearl.checkpoint import reading as checkpoint_reading
from pearl.checkpoint.manifest import verify_file
from pearl.checkpoint.store import CheckpointError, read_checkpoint, write_checkpoint
from tests.support.checkpoint.checkpoints import (
    assert_holds,
    assert_same_groups,
    assert_same_tensors,
    contents,
    example,
)
from tests.support.checkpoint.json_values import json_values

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


@st.composite
def tensors(draw):
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.lists(st.integers(0, 3), max_size=3))
    content = np.random.default_rng(draw(st.integers(0, 2**32))).bytes(8 * int(np.prod(shape)))
    if dtype == torch.bool:
        return torch.tensor([byte % 2 == 1 for byte in content[: int(np.prod(shape))]]).bool().reshape(shape)
    return torch.frombuffer(bytearray(content + bytes(8)), dtype=dtype)[: int(np.prod(shape))].reshape(shape)


group_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "state")
tensor_names = st.text(max_size=6).filter(lambda name: name != "__metadata__")


@settings(max_examples=40)
@given(
    groups=st.dictionaries(group_names, st.dictionaries(tensor_names, tensors(), max_size=4), max_size=3),
    document=st.dictionaries(st.text(), json_values, max_size=4),
)
def test_what_is_written_is_read_back_bit_for_bit_and_in_order(groups, document):
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name), groups, document)
        found = read_checkpoint(Path(name))
        assert found.document == document
        assert list(found.document) == list(document)
        assert_same_groups(found.groups, groups)
        for group, expected in groups.items():
            assert_same_tensors(load_file(Path(name) / f"{group}-000001.safetensors"), expected)


def test_tensors_that_share_memory_or_are_not_contiguous_keep_their_values(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    views = {
        "base": base,
        "same": base,
        "transposed": base.t(),
        "every_second": base[:, ::2],
        "expanded": base[:1].expand(5, 4),
        "parameter": torch.nn.Parameter(base[1]),
    }
    write_checkpoint(tmp_path, {"weights": views}, {})
    assert_same_groups(read_checkpoint(tmp_path).groups, {"weights": views})


def test_a_header_as_long_as_a_pickle_magic_is_no_pickle(tmp_path):
    starts = set()
    for length in range(500, 620, 8):
        write_checkpoint(tmp_path, {"weights": {"x" * length: torch.ones(2)}}, {})
        (path,) = tmp_path.glob("weights-*")
        starts.add(path.read_bytes()[:2])
        assert read_checkpoint(tmp_path).groups["weights"]["x" * length].tolist() == [1, 1]
    assert b"\x80\x02" in starts


def test_a_second_write_replaces_the_first_and_leaves_one_generation(saved):
    write_checkpoint(saved, *example(2))
    assert_holds(saved, 2)
    assert read_checkpoint(saved).generation == 2
    assert sorted(contents(saved)) == [
        "manifest.json",
        "replay-000002.safetensors",
        "state-000002.json",
        "weights-000002.safetensors",
    ]


def test_a_group_that_is_no_longer_written_is_removed(saved):
    write_checkpoint(saved, {"weights": {}}, {})
    assert not list(saved.glob("replay-*"))


def test_leftovers_of_a_killed_write_are_removed_by_the_next(saved):
    (saved / "weights-000009.safetensors").write_bytes(b"half")
    (saved / f".pearl-{0:032x}.partial").write_bytes(b"{")
    write_checkpoint(saved, *example(2))
    assert_holds(saved, 2)
    assert read_checkpoint(saved).generation == 10
    assert len(contents(saved)) == 4


def test_every_tensor_lies_aligned_in_its_file(tmp_path):
    groups = {"weights": {str(dtype): torch.ones(3, dtype=dtype) for dtype in reversed(DTYPES)}}
    write_checkpoint(tmp_path, groups, {})
    content = (tmp_path / "weights-000001.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for name, tensor in groups["weights"].items():
        assert (8 + length + header[name]["data_offsets"][0]) % tensor.element_size() == 0


def test_files_that_are_no_part_of_a_checkpoint_are_left_alone(saved):
    others = [
        "notes.txt",
        "video-000001.json",
        "policy-000001.safetensors",
        "weights-1.safetensors",
        "weights-000001.json",
    ]
    for name in others:
        (saved / name).write_text("mine")
    write_checkpoint(saved, *example(2))
    assert {name for name in contents(saved) if (saved / name).read_bytes() == b"mine"} == set(others)


def test_only_the_groups_asked_for_are_read_and_verified(saved):
    (saved / "replay-000001.safetensors").unlink()
    assert list(read_checkpoint(saved, groups=["weights"]).groups) == ["weights"]
    assert read_checkpoint(saved, groups=[]).document == example(1)[1]
    with pytest.raises(CheckpointError, match=r"replay-000001\.safetensors is missing"):
        read_checkpoint(saved)


def test_a_group_that_is_absent_is_an_error_that_names_what_is_there(saved):
    with pytest.raises(CheckpointError, match="has no 'optimizers'; it has 'weights', 'replay'"):
        read_checkpoint(saved, groups=["weights", "optimizers"])


def test_tensors_come_on_the_device_asked_for(saved):
    assert read_checkpoint(saved, device="meta").groups["weights"]["actor.0"].device.type == "meta"


def test_loaded_tensors_do_not_change_with_the_file(saved):
    found = read_checkpoint(saved).groups["weights"]["actor.0"]
    with open(saved / "weights-000001.safetensors", "r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
    assert found.tolist() == [[1, 1]] * 3


def test_a_reader_follows_a_training_that_saves_meanwhile(saved, monkeypatch):
    original, saves = verify_file, iter([2, 3])

    def save_then_verify(folder, file, *, sealed):
        with contextlib.suppress(StopIteration):
            write_checkpoint(folder, *example(next(saves)))
        return original(folder, file, sealed=sealed)

    monkeypatch.setattr(checkpoint_reading, "verify_file", save_then_verify)
    assert_holds(saved, 3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"tasks": [{"velocity": 1.0}, {"velocity": float("nan")}]}, "document['tasks'][1]['velocity'] is nan"),
        ({"loss": float("-inf")}, "document['loss'] is -inf"),
        ({"steps": np.int64(3)}, "document['steps'] is a int64"),
        ({"returns": {3: 1.0}}, "document['returns'] has the key 3"),
        ({"z": torch.ones(1)}, "document['z'] is a Tensor"),
        ({"z": json.loads("[" * 60 + "]" * 60)}, "more than 50 levels deep"),
        ({"z": "x" * (64 * 2**20)}, "Put arrays in a group"),
    ],
)
def test_what_json_would_refuse_or_change_is_named_by_its_place(saved, document, message):
    before = contents(saved)
    with pytest.raises(ValueError, match=re.escape(message)):
        write_checkpoint(saved, {}, document)
    assert contents(saved) == before


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"state": {}}, "'state' cannot name a group"),
        ({"../weights": {}}, "'../weights' cannot name a group"),
        ({"Weights": {}}, "'Weights' cannot name a group"),
        ({"weights": {"w": torch.ones(2, dtype=torch.complex64)}}, "groups['weights']['w'] has dtype torch.complex64"),
        ({"weights": {"w": torch.ones(2).to_sparse()}}, "groups['weights']['w'] is a torch.sparse_coo tensor"),
        ({"weights": {"w": torch.ones(2, device="meta")}}, "tensor on meta"),
        ({"weights": {"w": np.ones(2)}}, "groups['weights']['w'] is <class 'numpy.ndarray'>"),
        ({"weights": {"__metadata__": torch.ones(2)}}, "which safetensors reserves"),
    ],
)
def test_a_group_that_cannot_be_stored_is_refused_before_anything_is_written(saved, groups, message):
    before = contents(saved)
    with pytest.raises(ValueError, match=re.escape(message)):
        write_checkpoint(saved, groups, {})
    assert contents(saved) == before
