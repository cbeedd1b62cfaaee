"""A checkpoint that is damaged, foreign or forged is refused with the file named, and no pickle in it ever runs."""

import builtins
import contextlib
import json
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from pearl.checkpoint import reading as checkpoint_reading
from pearl.checkpoint.manifest import own_checksum
from pearl.checkpoint.store import CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint
from tests.pearl.checkpoints import assert_holds, contents, example, save_example
from tests.pearl.forgeries import put_and_seal


@pytest.fixture
def saved(tmp_path):
    return save_example(tmp_path / "runs" / "mine")


def edit_manifest(folder, edit, *, sealed=True):
    """Change what the manifest says, and its own checksum with it, as a forger would."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    if sealed:
        manifest["sha256"] = own_checksum(manifest)
    path.write_text(json.dumps(manifest))


def unseal(folder):
    """Make the manifest one of the time when it had no checksum of its own."""
    edit_manifest(folder, lambda manifest: manifest.pop("sha256"), sealed=False)


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


def test_a_manifest_that_was_altered_is_named_and_not_the_file_that_it_describes(saved):
    for key, value in (("sha256", "0" * 64), ("bytes", 3), ("tensors", []), ("name", "weights-000002.safetensors")):
        edit_manifest(saved, lambda manifest, key=key, value=value: manifest["files"]["weights"].update({key: value}))
        sound = (saved / "manifest.json").read_text()
        manifest = json.loads(sound) | {"sha256": "0" * 64}
        (saved / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(
            CheckpointError, match=r"^\S*manifest\.json is damaged or was tampered with: its own SHA-256"
        ):
            read_checkpoint(saved)


@pytest.mark.parametrize("seal", [None, 3, "", ["x"]])
def test_a_manifests_checksum_of_another_kind_is_no_checksum(saved, seal):
    edit_manifest(saved, lambda manifest: manifest.update(sha256=seal), sealed=False)
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged or was tampered with: its own SHA-256"):
        read_checkpoint(saved)


def test_a_manifest_of_the_time_before_its_own_checksum_is_read(saved):
    unseal(saved)
    assert_holds(saved, 1)


def test_where_such_a_manifest_and_a_file_disagree_both_are_named(saved):
    unseal(saved)
    edit_manifest(saved, lambda manifest: manifest["files"]["weights"].update(sha256="0" * 64), sealed=False)
    with pytest.raises(
        CheckpointError, match=r"weights-000001\.safetensors is altered.* Or \S*manifest\.json is altered"
    ):
        read_checkpoint(saved)


def test_a_manifest_whose_checksum_lost_its_name_is_refused(saved):
    edit_manifest(saved, lambda manifest: manifest.update(sha257=manifest.pop("sha256")), sealed=False)
    with pytest.raises(CheckpointError, match=r"lacks its own SHA-256 and has the unknown \['sha257'\]"):
        read_checkpoint(saved)


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
        ({"generation": 10**80}, "generation is 10+, where"),
        ({"format": "x" * 10**6}, r"its format is 'x+\.\.\.x+'"),
        ({"pearl_version": "x" * 10**6, "format_version": 2}, r"written by pearl x+\.\.\.; "),
        ({"files": {"state": "x" * 10**6}}, r"the file of 'state' is 'x+\.\.\.x+'"),
        ({"files": {"state": {"name": "state-000001.json", "bytes": -1, "sha256": ""}}}, "lacks its size"),
        ({"files": {"state": {"name": "state-000001.json", "bytes": True, "sha256": ""}}}, "lacks its size"),
        ({"files": {"state": {"name": "state-000001.json", "bytes": 1, "sha256": "", "tensors": [1]}}}, "names of its"),
        ({"files": {"state": {}, "a" * 300: {"name": "a" * 300 + "-000001.safetensors"}}}, "it lists the file"),
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
    assert len(str(caught.value)) < 700


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


def header_of(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = "actor.0"
HEADERS = {
    "huge shape": lambda header: header[TENSOR].update(shape=[10**9, 10**9]),
    "overflowing shape": lambda header: header[TENSOR].update(shape=[2**62, 2**62]),
    "shape of many digits": lambda header: header[TENSOR].update(shape=[10**90]),
    "negative shape": lambda header: header[TENSOR].update(shape=[-3, -2]),
    "fraction": lambda header: header[TENSOR].update(shape=[3.0, 2]),
    "text as shape": lambda header: header[TENSOR].update(shape="32"),
    "truth as shape": lambda header: header[TENSOR].update(shape=[True, 6]),
    "no shape": lambda header: header[TENSOR].pop("shape"),
    "overlap": lambda header: header["log_alpha"].update(data_offsets=[0, 4]),
    "backwards": lambda header: header[TENSOR].update(data_offsets=[24, 0]),
    "beyond the end": lambda header: header[TENSOR].update(data_offsets=[2**60, 2**60 + 24]),
    "negative offsets": lambda header: header[TENSOR].update(data_offsets=[-24, 0]),
    "three offsets": lambda header: header[TENSOR].update(data_offsets=[0, 24, 24]),
    "hole": lambda header: header.update({TENSOR: header[TENSOR] | {"shape": [1, 2], "data_offsets": [0, 8]}}),
    "wider numbers": lambda header: header[TENSOR].update(dtype="F64"),
    "unknown numbers": lambda header: header[TENSOR].update(dtype="F8_E4M3"),
    "no numbers": lambda header: header[TENSOR].update(dtype=["F32"]),
    "number as entry": lambda header: header.update({TENSOR: 3}),
    "fewer": lambda header: header.pop(TENSOR),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_a_sealed_file_with_another_header_is_refused_before_its_tensors_take_memory(saved, change):
    header, data = header_of((saved / "weights-000001.safetensors").read_bytes())
    change(header)
    put_and_seal(saved, "weights", with_header(header, data))
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file") as caught:
        read_checkpoint(saved)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b"null",
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"log_alpha": 1, "log_alpha": 2}',
        b'{"a": NaN}',
        b"7" * 5_000,
        b"\xff\xff",
    ],
)
def test_a_header_that_is_no_plain_json_object_is_refused(saved, header):
    put_and_seal(saved, "weights", with_header(header, b""))
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
        read_checkpoint(saved)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(saved, length):
    content = (saved / "weights-000001.safetensors").read_bytes()
    put_and_seal(saved, "weights", length.to_bytes(8, "little") + content[8:])
    with pytest.raises(CheckpointError, match=r"weights-000001\.safetensors is not a safetensors file"):
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
