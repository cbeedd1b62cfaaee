"""What goes wrong in worker processes is told by task and cause, and no worker outlives its parent."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pearl.collection.workers import WorkerError, WorkerVectorEnv
from tests.pearl.small import small_model
from tests.pearl.worker_envs import (
    DrawnTasks,
    FailingTasks,
    HangingCounting,
    MixedTasks,
    Unpicklable,
    Unreadable,
)
from tests.pearl.worker_processes import (
    PATIENCE_S,
    alive,
    ended,
    eventually,
    needs_proc,
    start_and_close,  # noqa: F401  (the fixture "started")
)

ROOT = Path(__file__).parents[2]
pytestmark = needs_proc


def fail(distribution, start):
    """Use the environments until they fail; what was built, and the message."""
    envs, pids = None, []
    try:
        envs, pids = start(distribution)
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
    except WorkerError as error:
        return envs, pids, str(error)
    pytest.fail("nothing failed")


def test_no_tasks_or_no_workers_are_refused():
    with pytest.raises(ValueError, match="0 tasks and 2 workers"):
        WorkerVectorEnv(DrawnTasks(), [], 2)
    with pytest.raises(ValueError, match="1 tasks and 0 workers"):
        WorkerVectorEnv(DrawnTasks(), DrawnTasks().sample(1, None), 0)


def test_a_distribution_that_cannot_be_pickled_is_refused_by_name():
    with pytest.raises(TypeError, match=r"Unpicklable cannot be pickled.*lambda.*make_vec_env"):
        WorkerVectorEnv(Unpicklable(), Unpicklable().sample(4, None), 2)


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
from tests.pearl.worker_envs import DrawnTasks

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


CHATTY = """
import os, sys
from pearl.collection.workers import WorkerVectorEnv
from tests.pearl.worker_envs import Drawn, DrawnTasks

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


NOTEBOOK = """
import sys
sys.path.insert(0, "")
from pearl.collection.workers import WorkerVectorEnv
from tests.pearl.worker_envs import FailingTasks
class Mine(FailingTasks):
    pass
if __name__ == "__main__":
    try:
        WorkerVectorEnv(Mine(), Mine().sample(2, None), 1)
    except Exception as error:
        print(type(error).__name__, error)
"""
GUARDED = NOTEBOOK.replace("class Mine", 'if __name__ == "__main__":\n  class Mine').replace("    pass", "      pass")


@pytest.mark.parametrize("how", ["console", "script"])
def test_a_class_of_a_notebook_or_of_a_scripts_guarded_part_is_to_be_moved_into_a_module(how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(GUARDED)
    command = [sys.executable, "-c", NOTEBOOK] if how == "console" else [sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120).stdout
    assert shown.startswith("WorkerError Worker 0 (task 0: number=10; task 1: number=11) failed to build"), shown
    assert "move the class into a module" in shown


def test_a_distribution_that_cannot_be_read_in_the_worker_shows_why(started):
    with pytest.raises(WorkerError, match=r"(?s)Worker \d \(task \d: number=1.*failed to build.*ZeroDivisionError"):
        started(Unreadable())
    assert ended([])


@pytest.mark.parametrize(
    ("how", "shown"),
    [("divide", "in divide"), ("exit", "SystemExit: 7"), ("end-of-file", "EOFError: the simulator is gone")],
)
@pytest.mark.parametrize("when", ["build", "reset", "step"])
def test_an_exception_names_its_task_and_shows_its_traceback(when, how, shown, started):
    envs, pids, error = fail(FailingTasks(when, how), started)
    assert f"Task 3 (number=13) failed to {when}" in error
    assert shown in error
    assert ended(pids)
    if when != "build":
        with pytest.raises(WorkerError, match=r"(?s)closed: WorkerError Task 3 \(number=13\)"):
            envs.reset(seed=0)


@pytest.mark.parametrize(("how", "shown"), [("kill", "signal 9, Killed"), ("os-exit", "exit code 3")])
@pytest.mark.parametrize("when", ["build", "step"])
def test_a_worker_that_dies_is_named_by_its_tasks_and_its_end(when, how, shown, started):
    _, pids, error = fail(FailingTasks(when, how), started)
    assert f"Worker 1 (task 2: number=12; task 3: number=13) died ({shown}) when asked to {when}" in error
    assert ended(pids)


def test_a_worker_that_was_killed_between_two_steps_is_noticed(started):
    envs, pids = started(FailingTasks("never"))
    envs.reset(seed=0)
    os.kill(pids[0], signal.SIGKILL)
    assert eventually(lambda: not alive(pids[0]))
    with pytest.raises(WorkerError, match=r"Worker 0 \(task 0: number=10; task 1: number=11\) died \(signal 9"):
        envs.step(envs.action_space.sample())
    assert ended(pids)


def test_a_death_is_noticed_while_another_worker_hangs_and_that_one_is_killed(started, monkeypatch):
    monkeypatch.setattr("pearl.collection.workers.GRACE_S", 0.5)
    envs, pids = started(FailingTasks("step", "hang", failing=(10,)))
    envs.reset(seed=0)
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"Worker 1 .* died"):
        envs.step(envs.action_space.sample())
    assert ended(pids)


@pytest.mark.parametrize("when", ["build", "reset", "step"])
def test_a_worker_that_hangs_is_named_by_its_tasks_and_killed_after_a_timeout(when, started, monkeypatch):
    begun = time.monotonic()
    # Building takes the start of a process, for which 10 s do everywhere.
    monkeypatch.setattr("tests.pearl.worker_processes.TIMEOUT_S", 10 if when == "build" else 3)
    _, pids, error = fail(FailingTasks(when, "hang"), started)
    assert f"Worker 1 (task 2: number=12; task 3: number=13) did not {when} within" in error
    assert "Worker 0" not in error
    assert "training.worker_timeout_s" in error
    assert ended(pids)
    assert time.monotonic() - begun < PATIENCE_S


def test_a_worker_that_answers_in_time_is_not_ended(started, monkeypatch):
    monkeypatch.setattr("tests.pearl.worker_processes.TIMEOUT_S", 10)
    envs, pids = started(FailingTasks("never"))
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    assert all(map(alive, pids))


@pytest.mark.parametrize("timeout_s", [None, 10])
def test_an_environment_that_hangs_when_it_is_closed_is_killed(timeout_s, started, monkeypatch):
    monkeypatch.setattr("pearl.collection.workers.GRACE_S", 0.5)
    monkeypatch.setattr("tests.pearl.worker_processes.TIMEOUT_S", timeout_s)
    envs, pids = started(FailingTasks("close", "hang"))
    envs.close()
    assert ended(pids)


def test_training_and_evaluation_wait_no_longer_than_the_setting_says():
    model = small_model(HangingCounting(), training={"workers": 2, "worker_timeout_s": 3.0})
    for act in (model.evaluate, lambda: model.training.iterate()):
        with pytest.raises(WorkerError, match=r"did not reset within 3\.0 s"):
            act()


def test_tasks_of_different_spaces_are_refused(started):
    with pytest.raises(WorkerError, match="spaces"):
        started(MixedTasks(), 4, 2)
    with pytest.raises(WorkerError, match="The tasks' spaces differ: task 0 has"):
        started(MixedTasks(), 4, 4)
    assert ended([])


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
from tests.pearl.worker_envs import FailingTasks
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
