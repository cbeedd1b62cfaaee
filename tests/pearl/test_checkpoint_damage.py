"""A checkpoint that is damaged, foreign or forged is refused with the file named, and no pickle in it ever runs."""

import builtins
import contextlib
import json
import pickle
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from pearl.checkpoint import CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint
from tests.pearl.checkpoints import assert_holds, contents, example, save_example


@pytest.fixture
def saved(tmp_path):
    return save_example(tmp_path / "runs" / "mine")


def edit_manifest(folder, edit):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def put_and_seal(folder, group, content):
    """Put other bytes in a group's place, and list their true size and hash, as a forger would."""

    def edit(manifest):
        entry = manifest["files"][group]
        (folder / entry["name"]).write_bytes(content)
        entry.update(bytes=len(content), sha256=sha256(content).hexdigest())

    edit_manifest(folder, edit)


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


def test_a_flipped_bit_in_the_manifest_is_an_error_or_makes_no_difference(saved):
    path = saved / "manifest.json"
    content = path.read_bytes()
    refused = 0
    positions = range(0, len(content), 3)
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            assert_holds(saved, 1)
        except CheckpointError:
            refused += 1
    assert refused > 0.7 * len(positions)


def test_a_manifest_cut_short_anywhere_is_an_error(saved):
    content = (saved / "manifest.json").read_bytes()
    for length in range(0, len(content), 7):
        (saved / "manifest.json").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is not valid JSON"):
            read_checkpoint(saved)


def test_deep_nesting_in_a_manifest_is_an_error(saved):
    (saved / "manifest.json").write_bytes(b"[" * 200_000)
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        read_checkpoint(saved)


def test_a_folder_without_manifest_is_an_error_that_names_what_it_holds(saved):
    assert has_checkpoint(saved)
    (saved / "manifest.json").unlink()
    assert not has_checkpoint(saved)
    with pytest.raises(CheckpointError, match=r"no checkpoint here: .*It holds: replay-000001.*, weights-000001"):
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "webapp"}, "its format is 'webapp'"),
        ({"format": None}, "its format is None"),
        ({"format_version": 2, "pearl_version": "9.1"}, "format version 2, written by pearl 9.1; .*Upgrade"),
        ({"format_version": 0}, "format_version is 0"),
        ({"format_version": "1"}, "format_version is '1'"),
        ({"format_version": True}, "format_version is True"),
        ({"generation": 2}, "for 'weights' of generation 2 it lists the file 'weights-000001.safetensors'"),
        ({"generation": "1"}, "generation is '1'"),
        ({"generation": -1}, "generation is -1"),
        ({"files": []}, "its files lack 'state'"),
        ({"files": {}}, "its files lack 'state'"),
        ({"files": {"state": 3}}, "the file of 'state' is 3"),
        ({"files": {"state": {"name": "state-000001.json"}}}, "lacks its size or its SHA-256"),
    ],
)
def test_a_manifest_that_is_foreign_newer_or_damaged_is_refused_by_name(saved, changes, message):
    edit_manifest(saved, lambda manifest: manifest.update(changes))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(saved)
    assert str(saved / "manifest.json") in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "..", "sub/weights-000001.safetensors", "C:\\x", 3]
)
def test_a_manifest_never_leads_out_of_its_folder(saved, name):
    shutil.copy(saved / "weights-000001.safetensors", saved.parent / "outside.safetensors")
    edit_manifest(saved, lambda manifest: manifest["files"]["weights"].update(name=name))
    with pytest.raises(CheckpointError, match=r"lists the file .* lie in its own folder"):
        read_checkpoint(saved)


def test_a_groups_key_never_leads_out_of_its_folder(saved):
    shutil.copy(saved / "weights-000001.safetensors", saved.parent / "out-000001.safetensors")

    def edit(manifest):
        manifest["files"]["../out"] = {**manifest["files"]["weights"], "name": "../out-000001.safetensors"}

    edit_manifest(saved, edit)
    with pytest.raises(CheckpointError, match="lie in its own folder"):
        read_checkpoint(saved)


def test_somebody_elses_manifest_is_not_overwritten(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "my web app"}')
    with pytest.raises(CheckpointError, match="belongs to something else"):
        write_checkpoint(tmp_path, *example(1))
    assert contents(tmp_path) == {"manifest.json": b'{"name": "my web app"}'}


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


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, pickle.dumps(3, protocol=0)])
def test_a_sealed_file_that_is_no_safetensors_is_refused(saved, content):
    put_and_seal(saved, "weights", content)
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
        read_checkpoint(saved)


def test_tensors_other_than_those_listed_are_refused(saved):
    put_and_seal(saved, "weights", (saved / "replay-000001.safetensors").read_bytes())
    with pytest.raises(
        CheckpointError, match=r"holds the tensors \['rewards', 'terminated'\], where the manifest lists"
    ):
        read_checkpoint(saved)


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff\xff"])
def test_a_sealed_document_that_is_no_json_object_is_refused(saved, content):
    put_and_seal(saved, "state", content)
    with pytest.raises(CheckpointError, match=r"state-000001\.json (is not valid JSON|holds no JSON object)"):
        read_checkpoint(saved)
