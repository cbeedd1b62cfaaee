"""A checkpoint that is damaged, foreign or forged is refused with the file named, and no pickle in it ever runs."""

import builtins
import contextlib
import pickle
import tempfile
from pathlib import Path

import pytest
import torch

from pearl.checkpoint import reading as checkpoint_reading
from pearl.checkpoint.store import CheckpointError, has_checkpoint, read_checkpoint
from tests.support.checkpoint.forgeries import put_and_seal


@pytest.mark.parametrize("name", ["weights-000001.safetensors", "replay-000001.safetensors", "state-000001.json"])
def test_a_file_cut_short_anywhere_is_called_truncated(saved, name):
    content = (saved / name).read_bytes()
    for length in {0, 1, 7, 8, 9, len(content) // 2, len(content) - 1}:
        (saved / name).write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=f"{name} is truncated: {length:,} bytes.*lists {len(content):,}"):
            read_checkpoint(saved)


@pytest.mark.parametrize("name", ["weights-000001.safetensors", "replay-000001.safetensors", "state-000001.json"])
def test_a_flipped_bit_anywhere_is_called_altered(saved, name):
    content = (saved / name).read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        (saved / name).write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"{name} is altered: its size is right"):
            read_checkpoint(saved)


def test_a_file_that_has_grown_is_called_altered(saved):
    with open(saved / "state-000001.json", "ab") as file:
        file.write(b" ")
    with pytest.raises(CheckpointError, match=r"state-000001\.json is altered: it has grown"):
        read_checkpoint(saved)


def test_a_missing_file_is_named(saved):
    (saved / "state-000001.json").unlink()
    with pytest.raises(CheckpointError, match=r"state-000001\.json is missing"):
        read_checkpoint(saved)


def test_no_folder_at_all_is_an_error(tmp_path):
    assert not has_checkpoint(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="absent does not exist"):
        read_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "carries"), [("sac.zip", True), ("model.pt", True), ("q.pkl", True), ("a.txt", False)]
)
def test_a_file_in_a_folders_place_is_refused(tmp_path, name, carries):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    assert not has_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="reads only the folders that its own save") as caught:
        read_checkpoint(tmp_path / name)
    assert ("carry pickles" in str(caught.value)) == carries


class CreatesFile:
    """Unpickled, it creates a file: the harmless stand-in for whatever a stranger's pickle would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (builtins.open, (str(self.path), "w"))


def torch_saved(value, **options):
    with tempfile.TemporaryDirectory() as folder:
        torch.save(value, Path(folder) / "x", **options)
        return (Path(folder) / "x").read_bytes()


PICKLERS = {
    **{f"protocol {n}": lambda value, n=n: pickle.dumps(value, protocol=n) for n in (2, 3, 4, 5)},
    "torch.save": torch_saved,
    "torch.save of old": lambda value: torch_saved(value, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("pickler", PICKLERS.values(), ids=PICKLERS.keys())
@pytest.mark.parametrize("group", ["weights", "state"])
def test_a_pickle_is_refused_by_name_and_does_not_run_though_its_hash_is_right(saved, pickler, group):
    mark = saved / "it_ran"
    content = pickler(CreatesFile(mark))
    put_and_seal(saved, group, content)
    with pytest.raises(CheckpointError, match=rf"{group}-000001\.\w+ is a (pickle|zip archive)"):
        read_checkpoint(saved)
    assert not mark.exists()


@pytest.mark.parametrize("pickler", PICKLERS.values(), ids=PICKLERS.keys())
def test_the_crafted_pickle_is_a_live_one(tmp_path, pickler):
    (tmp_path / "armed").write_bytes(pickler(CreatesFile(tmp_path / "it_ran")))
    with contextlib.suppress(Exception):
        torch.load(tmp_path / "armed", weights_only=False)
    assert (tmp_path / "it_ran").exists()


def test_a_pickle_in_the_manifests_place_is_refused(saved):
    (saved / "manifest.json").write_bytes(pickle.dumps(CreatesFile(saved / "it_ran")))
    with pytest.raises(CheckpointError, match=r"manifest\.json is a pickle"):
        read_checkpoint(saved)
    assert not (saved / "it_ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[]", "holds no JSON object"), (b"{", "is not valid JSON"), (b"\xff\xff", "is not valid JSON")],
)
def test_a_sealed_document_that_is_no_json_object_is_refused(saved, content, message):
    put_and_seal(saved, "state", content)
    with pytest.raises(CheckpointError, match=rf"state-000001\.json {message}"):
        read_checkpoint(saved)


def test_the_outline_is_checked_before_any_tensor_is_read(saved, monkeypatch):
    def check(outline):
        assert outline.document["value"] == 1
        assert outline.forms["weights"]["actor.0"] == ("F32", (3, 2))
        assert outline.paths["weights"].name == "weights-000001.safetensors"
        raise CheckpointError("not this one")

    monkeypatch.setattr(checkpoint_reading, "safe_open", None)
    with pytest.raises(CheckpointError, match="not this one"):
        read_checkpoint(saved, check=check)
