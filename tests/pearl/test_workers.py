"""Worker processes return what one process would, say what went wrong, and never outlive their parent."""

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pearl.workers import WorkerError, WorkerVectorEnv
from tests.pearl.worker_envs import DrawnTasks, FailingTasks, GymTasks, MixedTasks, Unpicklable, Unreadable

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def alive(pid):
    """Whether a process runs; a zombie counts, which somebody should have waited for."""
    return Path(f"/proc/{pid}").exists()


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ended(pids):
    return eventually(lambda: not multiprocessing.active_children() and not any(map(alive, pids)))


@pytest.fixture
def started():
    """Starts workers, and closes them after the test."""
    made = []

    def start(distribution, n_tasks=4, n_workers=2):
        envs = WorkerVectorEnv(distribution, distribution.sample(n_tasks, None), n_workers)
        made.append(envs)
        return envs, [worker.process.pid for worker in envs._workers]

    yield start
    for envs in made:
        envs.close()


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


def assert_same(one, other):
    """The same types, dtypes and values, however nested."""
    assert type(one) is type(other), (one, other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if one.dtype == object:
            assert_same(tuple(one), tuple(other))
        else:
            np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def play_both(distribution, start, *, n_tasks=5, n_workers=3, steps=25):
    """Play several episodes of uneven length in workers and in this process; each answer must be the same."""
    envs, _ = start(distribution, n_tasks, n_workers)
    reference = distribution.make_vec_env(distribution.sample(n_tasks, None))
    for name in ("num_envs", "metadata", "render_mode", "single_observation_space", "single_action_space"):
        assert getattr(envs, name) == getattr(reference, name), name
    assert (envs.observation_space, envs.action_space) == (reference.observation_space, reference.action_space)
    reference.action_space.seed(0)
    assert_same(envs.reset(seed=3), reference.reset(seed=3))
    resets = 0
    for _ in range(steps):
        actions = reference.action_space.sample()
        answer, expected = envs.step(actions), reference.step(actions)
        assert_same(answer, expected)
        ends = expected[2] | expected[3]
        if ends.any():
            resets += 1
            options = {"level": resets}
            assert_same(
                envs.reset(options=options | {"reset_mask": ends}),
                reference.reset(options=options | {"reset_mask": ends}),
            )
    assert resets > 2
    reference.close()


@pytest.mark.parametrize(
    ("observations", "actions"),
    [
        ("image", "box"),
        ("dict", "discrete"),
        ("tuple", "multi-discrete"),
        ("discrete", "multi-binary"),
        ("text", "dict"),
    ],
)
def test_workers_return_what_one_process_returns(observations, actions, started):
    play_both(DrawnTasks(observations, actions), started)


@pytest.mark.parametrize(("identifier", "horizon"), [("CartPole-v1", 30), ("Pendulum-v1", 4)])
def test_workers_step_gymnasiums_own_environments_alike(identifier, horizon, started):
    play_both(GymTasks(identifier, horizon), started, n_tasks=4, n_workers=2, steps=60)


@pytest.mark.parametrize("n_workers", [1, 9])
def test_there_are_no_more_workers_than_tasks(n_workers, started):
    envs, pids = started(DrawnTasks(), 3, n_workers)
    assert len(pids) == min(3, n_workers)
    assert envs.reset(seed=0)[0].shape == (3, 8, 8, 3)


def test_a_reset_by_mask_leaves_the_others_where_they_are(started):
    distribution = DrawnTasks("dict")
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    assert_same(envs.reset(seed=[5, None, 7, 8])[1], reference.reset(seed=[5, None, 7, 8])[1])
    before = envs.reset(seed=1)[0]
    mask = np.array([False, True, False, False])
    after, infos = envs.reset(seed=9, options={"reset_mask": mask})
    for name in before:
        assert (after[name][~mask] == before[name][~mask]).all()
    assert infos["_seed"].tolist() == mask.tolist()
    assert infos["seed"][1] == 10


def test_what_is_returned_is_the_callers_own(started):
    envs, _ = started(DrawnTasks())
    first = envs.reset(seed=0)[0]
    kept = first.copy()
    first[:] = 0
    again = envs.reset(options={"reset_mask": np.array([False, False, False, True])})[0]
    assert (again[:3] == kept[:3]).all()


@pytest.mark.parametrize(
    ("mask", "error"),
    [([True] * 4, TypeError), (np.ones(4), TypeError), (np.ones(3, bool), ValueError), (np.zeros(4, bool), ValueError)],
)
def test_a_mask_is_refused_as_one_process_refuses_it(mask, error, started):
    distribution = DrawnTasks()
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    for vector in (reference, envs):
        vector.reset(seed=0)
        with pytest.raises(error, match="reset_mask"):
            vector.reset(options={"reset_mask": mask})
    envs.step(envs.action_space.sample())


def test_what_cannot_be_asked_changes_nothing(started):
    envs, _ = started(DrawnTasks())
    with pytest.raises(ValueError, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False, False, False])})
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="4 actions, one per environment, got 3"):
        envs.step(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="4 seeds"):
        envs.reset(seed=[1, 2])
    envs.step(envs.action_space.sample())


def test_an_episode_that_has_ended_is_not_stepped_on(started):
    distribution = DrawnTasks()
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    for vector in (envs, reference):
        vector.reset(seed=0)
        for _ in range(2):
            _, _, terminated, _, _ = vector.step(np.zeros((4, 2), np.float32))
        assert terminated.tolist() == [True, False, False, False]
        with pytest.raises(AssertionError):
            vector.step(np.zeros((4, 2), np.float32))
    envs.reset(options={"reset_mask": terminated})
    envs.step(np.zeros((4, 2), np.float32))


def test_closing_leaves_no_process_and_a_later_use_is_an_error(started):
    envs, pids = started(DrawnTasks())
    assert all(map(alive, pids))
    envs.close()
    envs.close()
    assert ended(pids)
    for use in (lambda: envs.reset(seed=0), lambda: envs.step(np.zeros((4, 2)))):
        with pytest.raises(WorkerError, match=r"closed: close\(\) was called"):
            use()


def test_collecting_the_garbage_ends_the_workers():
    envs = WorkerVectorEnv(DrawnTasks(), DrawnTasks().sample(4, None), 2)
    pids = [worker.process.pid for worker in envs._workers]
    del envs
    gc.collect()
    assert ended(pids)


def test_no_tasks_or_no_workers_are_refused():
    with pytest.raises(ValueError, match="0 tasks and 2 workers"):
        WorkerVectorEnv(DrawnTasks(), [], 2)
    with pytest.raises(ValueError, match="1 tasks and 0 workers"):
        WorkerVectorEnv(DrawnTasks(), DrawnTasks().sample(1, None), 0)


def test_a_distribution_that_cannot_be_pickled_is_refused_by_name():
    with pytest.raises(TypeError, match=r"Unpicklable cannot be pickled.*lambda.*make_vec_env"):
        WorkerVectorEnv(Unpicklable(), Unpicklable().sample(4, None), 2)


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
    monkeypatch.setattr("pearl.workers.GRACE_S", 0.5)
    envs, pids = started(FailingTasks("step", "hang", failing=(10,)))
    envs.reset(seed=0)
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"Worker 1 .* died"):
        envs.step(envs.action_space.sample())
    assert ended(pids)


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
from pearl.workers import WorkerVectorEnv
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
