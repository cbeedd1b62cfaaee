"""A folder has one writer; a lock ends with its holder, however that ends, and says who holds it."""

import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from pearl.checkpoint.store import CheckpointError, read_checkpoint, write_checkpoint
from pearl.files import lock as folder_lock
from pearl.files.access import FileError
from pearl.files.lock import FolderInUseError, FolderLock
from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills, forks and links")


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    with FolderLock(tmp_path), pytest.raises(FolderInUseError) as caught:
        FolderLock(tmp_path)
    assert f"{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()}, since 2" in str(caught.value)


def test_a_lock_that_is_released_leaves_nothing_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        lock = FolderLock(tmp_path)
        assert os.listdir(tmp_path) == [".lock"]
        lock.release()
        lock.release()
        assert os.listdir(tmp_path) == []


def test_a_lock_that_nobody_can_reach_is_released(tmp_path):
    FolderLock(tmp_path)
    FolderLock(tmp_path)


def test_releasing_leaves_the_lock_of_a_folder_that_was_made_anew(tmp_path):
    lock = FolderLock(tmp_path)
    (tmp_path / ".lock").unlink()
    with FolderLock(tmp_path):
        lock.release()
        with pytest.raises(FolderInUseError):
            FolderLock(tmp_path)


HOLDER = """
import multiprocessing, os, sys, time
from pathlib import Path
from pearl.files.lock import FolderLock

if __name__ == "__main__":
    lock = FolderLock(Path(sys.argv[1]))
    children = [os.getpid()]
    for method in sys.argv[2:]:
        process = multiprocessing.get_context(method).Process(target=time.sleep, args=(60,))
        process.start()
        children.append(process.pid)
    print(*children, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the folder's lock, with children; return all their process ids."""
    folder = tmp_path / "run"
    started: list[Any] = []
    ids: list[Any] = []
    folder.mkdir()
    (tmp_path / "holder.py").write_text(HOLDER)

    def start(*methods):
        command = [sys.executable, str(tmp_path / "holder.py"), str(folder), *methods]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        ids.extend(map(int, started[-1].stdout.readline().split()))
        return folder, ids

    yield start
    for number in ids[1:]:
        os.kill(number, signal.SIGKILL)
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_process_holds_nothing_and_neither_do_the_children_that_outlive_it(holder):
    folder, ids = holder("fork", "forkserver", "spawn")
    with pytest.raises(FolderInUseError, match=rf"by process {ids[0]} on"):
        FolderLock(folder)
    os.kill(ids[0], signal.SIGKILL)
    os.waitpid(ids[0], 0)
    for child in ids[1:]:
        os.kill(child, 0)
    assert str(ids[0]) in (folder / ".lock").read_text()
    with FolderLock(folder):
        assert str(os.getpid()) in (folder / ".lock").read_text()


def test_a_fork_that_ends_leaves_its_parents_lock(tmp_path):
    lock = FolderLock(tmp_path)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(FolderInUseError):
        FolderLock(tmp_path)


def test_a_lock_file_that_leads_elsewhere_is_neither_followed_nor_written(tmp_path):
    private, folder = tmp_path / "private", tmp_path / "run"
    folder.mkdir()
    private.write_text("mine")
    for make in (os.symlink, os.link):
        make(private, folder / ".lock")
        with pytest.raises(FileError, match=r"run/\.lock is"):
            FolderLock(folder)
        (folder / ".lock").unlink()
    os.symlink(tmp_path / "nowhere", folder / ".lock")
    with pytest.raises(FileError, match=r"run/\.lock is a link"):
        FolderLock(folder)
    (folder / ".lock").unlink()
    os.mkfifo(folder / ".lock")
    with pytest.raises(FileError, match=r"run/\.lock is not a file of its own"):
        FolderLock(folder)
    assert private.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_locks_is_said_and_no_hindrance(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(folder_lock, "try_lock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked .*not implemented.*start no second run in it"):
        FolderLock(tmp_path).release()


def test_two_that_save_to_one_folder_do_not_mix_their_files(holder):
    folder, ids = holder()
    os.kill(ids[0], signal.SIGSTOP)
    with pytest.raises(CheckpointError, match=rf"in use by process {ids[0]} on .*Save again when it has finished"):
        write_checkpoint(folder, {"weights": {"x": torch.ones(1)}}, {})
    assert os.listdir(folder) == [".lock"]
    os.kill(ids[0], signal.SIGKILL)
    os.waitpid(ids[0], 0)
    write_checkpoint(folder, {"weights": {"x": torch.ones(1)}}, {})
    assert read_checkpoint(folder).generation == 1
