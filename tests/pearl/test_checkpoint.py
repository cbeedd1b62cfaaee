import builtins
import contextlib
import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from pearl import checkpoint
from pearl.checkpoint import CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


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


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "runs" / "mine"
    write_checkpoint(folder, *example(1))
    return folder


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


@st.composite
def tensors(draw):
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.lists(st.integers(0, 3), max_size=3))
    content = np.random.default_rng(draw(st.integers(0, 2**32))).bytes(8 * int(np.prod(shape)))
    if dtype == torch.bool:
        return torch.tensor([byte % 2 == 1 for byte in content[: int(np.prod(shape))]]).bool().reshape(shape)
    return torch.frombuffer(bytearray(content + bytes(8)), dtype=dtype)[: int(np.prod(shape))].reshape(shape)


group_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "state")
tensor_names = st.text(max_size=6).filter(lambda name: name != "__metadata__")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
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
    (saved / "manifest.json.partial").write_bytes(b"{")
    write_checkpoint(saved, *example(2))
    assert_holds(saved, 2)
    assert read_checkpoint(saved).generation == 10
    assert len(contents(saved)) == 4


def test_a_write_that_fails_spares_the_files_of_a_checkpoint_whose_manifest_was_lost(saved, monkeypatch):
    (saved / "manifest.json").unlink()
    before = contents(saved)
    assert error_when_call_fails(monkeypatch, saved, 5, errno.ENOSPC)
    assert contents(saved) == before


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
    original, saves = checkpoint.verify_file, iter([2, 3])

    def save_then_verify(folder, file):
        with contextlib.suppress(StopIteration):
            write_checkpoint(folder, *example(next(saves)))
        return original(folder, file)

    monkeypatch.setattr(checkpoint, "verify_file", save_then_verify)
    assert_holds(saved, 3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"tasks": [{"velocity": 1.0}, {"velocity": float("nan")}]}, "document['tasks'][1]['velocity'] is nan"),
        ({"loss": float("-inf")}, "document['loss'] is -inf"),
        ({"steps": np.int64(3)}, "document['steps'] is a int64"),
        ({"returns": {3: 1.0}}, "document['returns'] has the key 3"),
        ({"z": torch.ones(1)}, "document['z'] is a Tensor"),
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
def test_a_file_in_a_folder_s_place_is_refused(tmp_path, name, carries):
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


def test_a_group_s_key_never_leads_out_of_its_folder(saved):
    shutil.copy(saved / "weights-000001.safetensors", saved.parent / "out-000001.safetensors")

    def edit(manifest):
        manifest["files"]["../out"] = {**manifest["files"]["weights"], "name": "../out-000001.safetensors"}

    edit_manifest(saved, edit)
    with pytest.raises(CheckpointError, match="lie in its own folder"):
        read_checkpoint(saved)


def test_a_somebody_else_s_manifest_is_not_overwritten(tmp_path):
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


def test_a_pickle_in_the_manifest_s_place_is_refused(saved):
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


class WatchedDisk:
    """Calls `watcher(operation)` before each call that changes the disk, and in the middle of each write."""

    def __init__(self, monkeypatch, watcher):
        self.watcher, self.busy = watcher, False
        for name in ("fsync", "replace", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self.watched(name, getattr(os, name)))
        monkeypatch.setattr(checkpoint, "open", self.watched("open", self.open), raising=False)

    def watched(self, name, function):
        def call(*args, **kwargs):
            self.notify(name)
            return function(*args, **kwargs)

        return call

    def notify(self, operation):
        if not self.busy:
            self.busy = True
            try:
                self.watcher(operation)
            finally:
                self.busy = False

    def open(self, path, mode):
        file = builtins.open(path, mode, buffering=0)  # noqa: SIM115
        write = file.write

        class Torn:
            def __enter__(_):
                return _

            def __exit__(_, *args):
                file.close()

            def __getattr__(_, name):
                return getattr(file, name)

            def write(_, chunk):
                self.notify("write")
                write(chunk[: len(chunk) // 2])
                self.notify("write")
                write(chunk[len(chunk) // 2 :])

        return Torn()


@pytest.mark.parametrize("earlier", [True, False])
def test_killed_at_any_call_the_last_or_the_new_checkpoint_reads(tmp_path, monkeypatch, earlier):
    folder, copies = tmp_path / "run", []
    folder.mkdir()
    if earlier:
        write_checkpoint(folder, *example(1))

    def copy(operation):
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(folder, copies[-1])

    with monkeypatch.context() as patch:
        WatchedDisk(patch, copy)
        write_checkpoint(folder, *example(2))
    assert len(copies) > 20
    values = [read_checkpoint(path).document["value"] if has_checkpoint(path) else 0 for path in copies]
    assert values == sorted(values)
    assert set(values) == {int(earlier), 2}
    for path, value in zip(copies, values, strict=True):
        if value:
            assert_holds(path, value)
        write_checkpoint(path, *example(3))
        assert_holds(path, 3)
        assert len(contents(path)) == 4


def test_after_a_power_cut_at_any_call_the_last_or_the_new_checkpoint_reads(saved, tmp_path, monkeypatch):
    """The disk keeps only what fsync was asked to keep: a file's bytes, and a folder's names."""
    durable = contents(saved)
    synced = {path.stat().st_ino for path in saved.iterdir()}
    real_fsync, found = os.fsync, []

    def fsync(descriptor):
        real_fsync(descriptor)
        if os.path.samestat(os.fstat(descriptor), saved.stat()):
            durable.clear()
            durable.update(surviving())
        else:
            synced.add(os.fstat(descriptor).st_ino)

    def surviving():
        return {path.name: path.read_bytes() if path.stat().st_ino in synced else b"" for path in saved.iterdir()}

    def cut_power(operation):
        now = surviving()
        renamed = {**durable, "manifest.json": now["manifest.json"]}
        for survivors in (durable, now, renamed):
            copy = Path(tempfile.mkdtemp(dir=tmp_path))
            for name, content in survivors.items():
                (copy / name).write_bytes(content)
            found.append(read_checkpoint(copy).document["value"])
            assert_holds(copy, found[-1])

    monkeypatch.setattr(os, "fsync", fsync)
    WatchedDisk(monkeypatch, cut_power)
    write_checkpoint(saved, *example(2))
    assert set(found) == {1, 2}


KILLED_WRITER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from pearl.checkpoint import read_checkpoint, write_checkpoint, has_checkpoint

folder, value = Path(sys.argv[1]), 0
for _ in range(12):
    child = os.fork()
    if child == 0:
        while True:
            value += 1
            groups = {name: {"x": torch.full((20_000,), value)} for name in ("weights", "replay")}
            write_checkpoint(folder, groups, {"value": value})
    time.sleep(random.uniform(0.01, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if has_checkpoint(folder):
        found = read_checkpoint(folder)
        assert found.document["value"] >= value
        value = found.document["value"]
        assert all(torch.equal(group["x"], torch.full((20_000,), value)) for group in found.groups.values())
print(value)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_process_killed_again_and_again_leaves_a_checkpoint_each_time(tmp_path):
    assert int(run_python(KILLED_WRITER, tmp_path / "run")) > 5


def run_python(script, *args):
    root = str(Path(checkpoint.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def error_when_call_fails(monkeypatch, folder, failing, code):
    """The error of a write whose call number `failing` fails, or None where it has fewer calls."""
    calls = iter(range(10_000))

    def fail(operation):
        if operation in ("open", "write", "fsync", "replace") and next(calls) == failing:
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        WatchedDisk(patch, fail)
        try:
            write_checkpoint(folder, *example(2))
        except CheckpointError as error:
            return error
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_whatever_call_fails_no_partial_file_stays_and_the_last_checkpoint_stands(saved, monkeypatch, code):
    before, failing = contents(saved), 0
    while (error := error_when_call_fails(monkeypatch, saved, failing, code)) and contents(saved) == before:
        assert error.__cause__.errno == code
        assert "The last good checkpoint (generation 1) stands untouched" in str(error)
        failing += 1
    assert failing > 15
    # The last call of all confirms to the disk what is done by then.
    assert "could not confirm that it would survive a power cut" in str(error)
    assert_holds(saved, 2)
    assert contents(saved).keys() >= before.keys()
    assert error_when_call_fails(monkeypatch, saved, failing + 1, code) is None
    assert len(contents(saved)) == 4


def test_an_interrupt_leaves_no_partial_file_either(saved, monkeypatch):
    before = contents(saved)

    def interrupt(operation):
        if operation == "replace":
            raise KeyboardInterrupt

    WatchedDisk(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(saved, *example(2))
    assert contents(saved) == before


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free some space there, or choose a folder on another disk"),
        (errno.EDQUOT, "Your disk quota is used up"),
        (errno.EFBIG, "A limit on the size of files is in force"),
        (errno.EROFS, "mounted read-only"),
        (errno.EACCES, "Grant yourself the right"),
        (errno.EIO, "Mend the cause"),
    ],
)
def test_a_full_disk_is_an_error_that_says_what_was_needed_and_what_is_free(saved, monkeypatch, code, remedy):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 12345, 12345))

    def refuse(operation):
        if operation == "write":
            raise OSError(code, os.strerror(code))

    WatchedDisk(monkeypatch, refuse)
    size = 4_000_000
    with pytest.raises(CheckpointError, match=re.escape(remedy)) as caught:
        write_checkpoint(saved, {"replay": {"rewards": torch.zeros(size // 4)}}, {})
    needed = int(re.search(r"needs ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))
    assert size < needed < size + 200
    assert "12,345 bytes are free" in str(caught.value)


def test_a_first_write_that_fails_says_that_there_was_no_earlier_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"There was no earlier checkpoint\. A file stands where"):
        write_checkpoint(tmp_path / "file" / "run", *example(1))
    with pytest.raises(CheckpointError, match=r"There was no earlier checkpoint\. A file stands where"):
        write_checkpoint(tmp_path / "file", *example(1))


LIMITED_WRITER = """
import resource, sys
from pathlib import Path
import torch
from pearl.checkpoint import CheckpointError, write_checkpoint

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint(Path(sys.argv[1]), {"replay": {"rewards": torch.zeros(100_000)}}, {})
except CheckpointError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_really_refuses_leaves_the_last_checkpoint(saved):
    before = contents(saved)
    message = run_python(LIMITED_WRITER, saved)
    assert "A limit on the size of files is in force" in message
    assert "stands untouched" in message
    assert contents(saved) == before
    assert_holds(saved, 1)
