"""Whatever kills a write or fills the disk, the last checkpoint or the new one reads, and no half file stays."""

import builtins
import errno
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from pearl.checkpoint.store import CheckpointError, has_checkpoint, read_checkpoint, write_checkpoint
from pearl.files import access as files
from tests.support import processes
from tests.support.checkpoint.checkpoints import assert_holds, contents, example


class WatchedDisk:
    """Calls `watcher(operation)` before each call that changes the disk, and in the middle of each write."""

    def __init__(self, monkeypatch, watcher):
        self.watcher, self.busy = watcher, False
        for name in ("fsync", "replace", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self.watched(name, getattr(os, name)))
        monkeypatch.setattr(files, "open", self.open, raising=False)

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
        if mode == "rb":
            return builtins.open(path, mode)
        self.notify("open")
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
    folder = tmp_path / "run"
    copies: list[Path] = []
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
from pearl.checkpoint.store import read_checkpoint, write_checkpoint, has_checkpoint

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
    done = processes.run_python(script, Path.cwd(), *args, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def test_a_write_that_fails_spares_the_files_of_a_checkpoint_whose_manifest_was_lost(saved, monkeypatch):
    (saved / "manifest.json").unlink()
    before = contents(saved)
    assert error_when_call_fails(monkeypatch, saved, 5, errno.ENOSPC)
    assert contents(saved) == before


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
        (errno.EIO, "Fix the cause"),
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
from pearl.checkpoint.store import CheckpointError, write_checkpoint

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


@pytest.fixture
def unprivileged():
    """Permissions do not bind the superuser, who becomes somebody else."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.parametrize(
    ("mode", "inner", "standing"),
    [
        (0o000, ".", "Whether there was an earlier checkpoint is unknown"),
        (0o333, ".", r"The last good checkpoint \(generation 1\) stands untouched"),
        (0o555, ".", r"The last good checkpoint \(generation 1\) stands untouched"),
        (0o000, "new/run", "Whether there was an earlier checkpoint is unknown"),
        (0o555, "new/run", "There was no earlier checkpoint"),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_named_with_what_stands(saved, request, mode, inner, standing):
    for folder in saved.parents:
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    before = contents(saved)
    saved.chmod(mode)
    request.getfixturevalue("unprivileged")
    with pytest.raises(CheckpointError, match=rf"Permission denied.*{standing}\. Grant yourself the right") as error:
        write_checkpoint(saved / inner, *example(2))
    assert str(saved / inner) in str(error.value)
    os.seteuid(os.getuid())
    saved.chmod(0o700)
    assert contents(saved) == before


def test_a_manifest_that_may_not_be_read_is_named_and_nothing_is_written(saved, monkeypatch):
    before = contents(saved)

    def refuse(path, limit):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pearl.checkpoint.manifest.read_bytes", refuse)
        with pytest.raises(CheckpointError, match=r"manifest\.json.*Permission denied"):
            write_checkpoint(saved, *example(2))
    assert contents(saved) == before


def test_a_name_that_no_disk_takes_is_told_so(tmp_path):
    for name in ("a" * 300, "a" * 300 + "/run", "a/" * 3000):
        with pytest.raises(CheckpointError, match=r"File name too long.*Choose a shorter name"):
            write_checkpoint(tmp_path / name, *example(1))


def test_a_system_folder_is_told_that_it_cannot_hold_a_checkpoint():
    for folder in ("/proc/run", "/dev/null/run"):
        with pytest.raises(CheckpointError, match=rf"cannot write the checkpoint to {folder}: .*no earlier checkpoint"):
            write_checkpoint(Path(folder), *example(1))
