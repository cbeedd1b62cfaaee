"""A manifest that is damaged, foreign, newer or forged is refused by name, and never leads out of its folder."""

import json
import shutil

import pytest

from pearl.checkpoint.manifest import own_checksum
from pearl.checkpoint.store import CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint
from tests.support.checkpoint.checkpoints import (
    assert_holds,
    contents,
    example,
)


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
        ({"generation": 10**80}, "generation is 10+, expected"),
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
