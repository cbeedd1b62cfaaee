"""What goes wrong in worker processes is told by task and cause."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pearl.collection.workers import WorkerError, WorkerVectorEnv
from tests.support.collection.worker_envs import (
    DrawnTasks,
    FailingTasks,
    HangingCounting,
    MixedTasks,
    Unpicklable,
    Unreadable,
)
from tests.support.collection.worker_processes import (
    PATIENCE_S,
    alive,
    ended,
    eventually,
    needs_proc,
)
from tests.support.processes import ROOT
from tests.support.small import small_model

pytestmark = needs_proc


def fail(distribution, start, **options):
    """Use the environments until they fail; what was built, and the message."""
    envs, pids = None, []
    try:
        envs, pids = start(distribution, **options)
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


NOTEBOOK = """
import sys
sys.path.insert(0, "")
from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_envs import FailingTasks
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
    assert "move it into a module" in shown


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
def test_a_worker_that_hangs_is_named_by_its_tasks_and_killed_after_a_timeout(when, started):
    begun = time.monotonic()
    # Building takes the start of a process, for which 10 s do everywhere.
    timeout_s = 10 if when == "build" else 3
    _, pids, error = fail(FailingTasks(when, "hang"), started, timeout_s=timeout_s)
    assert f"Worker 1 (task 2: number=12; task 3: number=13) did not {when} within" in error
    assert "Worker 0" not in error
    assert "training.worker_timeout_s" in error
    assert ended(pids)
    assert time.monotonic() - begun < PATIENCE_S


def test_a_worker_that_answers_in_time_is_not_ended(started):
    envs, pids = started(FailingTasks("never"), timeout_s=10)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    assert all(map(alive, pids))


@pytest.mark.parametrize("timeout_s", [None, 10])
def test_an_environment_that_hangs_when_it_is_closed_is_killed(timeout_s, started, monkeypatch):
    monkeypatch.setattr("pearl.collection.workers.GRACE_S", 0.5)
    envs, pids = started(FailingTasks("close", "hang"), timeout_s=timeout_s)
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
