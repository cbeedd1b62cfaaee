"""Workers leave signals to their parent, outlive no end of it, and may print where nobody reads."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_envs import DrawnTasks, FailingTasks
from tests.support.collection.worker_processes import (
    PATIENCE_S,
    ended,
    eventually,
    needs_proc,
)
from tests.support.processes import ROOT

pytestmark = needs_proc


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_stopping_to_the_parent(started, number):
    envs, pids = started(DrawnTasks())
    for pid in pids:
        os.kill(pid, number)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    envs.close()
    assert ended(pids)


# A fresh process, so that the server is ours; a file, which the server's processes import.
OTHERS = """
import multiprocessing, os, signal, subprocess, sys, time
from pearl.collection.worker_process import _leave_stopping_to_the_parent
from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_envs import DrawnTasks

def child_of_a_worker():
    _leave_stopping_to_the_parent()
    started = subprocess.Popen(["sleep", "60"])
    started.terminate()
    forked = os.fork()
    if forked == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.1)
    os.kill(forked, signal.SIGTERM)
    print("started", started.wait(), "forked", os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), flush=True)

if __name__ == "__main__":
    envs = WorkerVectorEnv(DrawnTasks(), DrawnTasks().sample(2, None), 1)
    context = multiprocessing.get_context("forkserver")
    other = context.Process(target=time.sleep, args=(60,))
    other.start()
    other.terminate()
    other.join(30)
    print("other", other.exitcode, flush=True)
    process = context.Process(target=child_of_a_worker)
    process.start()
    process.join(30)
    envs.close()
"""


def test_processes_of_others_end_by_sigterm_as_ever(tmp_path):
    """Those that the same server forks, those that an environment in a worker starts, and those that it forks."""
    (tmp_path / "others.py").write_text(OTHERS)
    done = subprocess.run(
        [sys.executable, "others.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 4,
    )
    assert done.stdout.splitlines() == ["other -15", "started -15 forked -15"], done


CHATTY = """
import os, sys
from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_envs import Drawn, DrawnTasks

class Chatty(Drawn):
    def step(self, action):
        for stream in (sys.stdout, sys.stderr):
            print("→" * 10_000, file=stream, flush=True)
        return super().step(action)

class ChattyTasks(DrawnTasks):
    def make_env(self, task, render_mode=None):
        env = super().make_env(task)
        env.unwrapped.__class__ = Chatty
        return env

if __name__ == "__main__":
    envs = WorkerVectorEnv(ChattyTasks(), ChattyTasks().sample(2, None), 1)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    envs.close()
    os._exit(5)
"""


@pytest.mark.parametrize("redirection", ["2>&1 | true", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_an_environment_may_print_in_a_worker_where_nobody_reads_it(tmp_path, redirection):
    (tmp_path / "chatty.py").write_text(CHATTY, encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} chatty.py {redirection}; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        timeout=PATIENCE_S * 4,
    )
    assert done.returncode == 5


def parent(connection, then):
    """Hold workers, tell their ids, and end. It needs a fork server of its own, whose start takes seconds."""
    # Where tests run in the background, Ctrl-C is ignored from the start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = FailingTasks("never")
    envs = WorkerVectorEnv(tasks, tasks.sample(4, None), 2)
    envs.reset(seed=0)
    connection.send([worker.process.pid for worker in envs._workers])
    if then == "raise":
        raise RuntimeError("the parent's own")
    while then == "go on":
        envs.step(envs.action_space.sample())


@pytest.mark.parametrize(
    ("then", "number", "code"),
    [
        ("end", None, 0),
        pytest.param("raise", None, 1, marks=pytest.mark.slow),
        pytest.param("go on", signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param("go on", signal.SIGTERM, -signal.SIGTERM, marks=pytest.mark.slow),
        ("go on", signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["exit", "exception", "ctrl-c", "terminated", "killed"],
)
def test_however_the_parent_ends_no_worker_is_left(then, number, code):
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=parent, args=(there, then))
    process.start()
    pids = here.recv()
    if number == signal.SIGINT:
        for pid in [*pids, process.pid]:
            os.kill(pid, number)
    elif number is not None:
        os.kill(process.pid, number)
    process.join(PATIENCE_S)
    assert process.exitcode == code
    assert ended(pids)


SCRIPT = """
import signal
from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_envs import FailingTasks
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = FailingTasks("never")
    idle, stepped = (WorkerVectorEnv(tasks, tasks.sample(2, None), 2) for _ in range(2))
    stepped.reset(seed=0)
    print("started", flush=True)
    while True:
        stepped.step(stepped.action_space.sample())
"""


def session(leader):
    """The processes of a session, by number."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    members.append(int(folder.name))
    return members


def test_ctrl_c_ends_a_script_with_one_traceback_and_all_that_it_started(tmp_path):
    script, complaints = tmp_path / "script.py", tmp_path / "stderr"
    script.write_text(SCRIPT)
    with complaints.open("w") as stderr:
        running = subprocess.Popen(
            [sys.executable, script],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert running.stdout.readline() == "started\n", complaints.read_text()
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(PATIENCE_S) == -signal.SIGINT
        assert eventually(lambda: not session(running.pid))
    finally:
        for pid in session(running.pid):
            os.kill(pid, signal.SIGKILL)
        running.stdout.close()
        running.wait()
    assert complaints.read_text().count("Traceback") == 1
    assert "KeyboardInterrupt" in complaints.read_text()
