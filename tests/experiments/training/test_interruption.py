"""Whatever ends a run of the training script, it goes on from its last checkpoint as if nothing had happened."""

import contextlib
import json
import multiprocessing
import random
import resource
import shlex
import signal
import subprocess
import sys
import time

import pytest
import train

import pearl
from pearl.runs.run import Run
from tests.support.processes import ROOT
from tests.support.runs.script_runs import (
    SHORT,
    SHORTEST,
    assert_one_error_names,
    checkpoints,
    contents,
    environment,
    main_in_child,
    printed_by,
    rows,
    same_weights,
)


@pytest.fixture(scope="module")
def start():
    """A function that starts the training script in a process of its own, without the seconds that imports take."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.runs.script_runs"])

        def started(argv, log, **options):
            process = context.Process(target=main_in_child, args=(argv, log), kwargs=options)
            process.start()
            return process

        yield started


def wait_for(condition, process, seconds=60):
    """Wait until ``condition()`` holds, as long as the process lives."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.is_alive(), f"the run ended with exit code {process.exitcode} before it was to be ended"
        assert time.monotonic() < end, "the run does not get on"
        time.sleep(0.005)


def largest_file(folder):
    """The size of a folder's largest file, looked at again where the run has just replaced one."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return max(path.stat().st_size for path in folder.iterdir())


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(start, finished, tmp_path, no_pictures):
    folder, log, rng = tmp_path / "run", tmp_path / "log.txt", random.Random(0)
    argv = [*SHORT, "--run-dir", str(folder)]
    expected = rows(finished.folder)
    for kill in range(4):
        before = checkpoints(folder)
        process = start([*argv, "--resume"] if kill else argv, log)
        wait_for(lambda before=before: checkpoints(folder) > before, process)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, log.read_text()
        known = pearl.load(folder).num_timesteps
        kept = [row for row in rows(folder) if int(row["env_steps"]) <= known]
        assert kept == expected[: len(kept)]
        assert int(kept[-1]["env_steps"]) == known, "a row that a checkpoint covers was lost"
    assert not (folder / "result.json").exists()
    assert train.main([*argv, "--resume"]) == 0
    assert rows(folder) == expected
    assert same_weights(folder, finished.folder)


def test_a_run_killed_before_its_first_checkpoint_starts_anew(start, finished, tmp_path, no_pictures, capsys):
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    argv = [*SHORTEST, "--run-dir", str(folder)]
    process = start(argv, log, killed_at_first_checkpoint=True)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, log.read_text()
    assert checkpoints(folder) == 0
    assert train.main([*argv, "--resume"]) == 2
    assert "no checkpoint to resume from. Start a new run, without --resume" in capsys.readouterr().err
    assert train.main(argv) == 0
    assert rows(folder)[0] == rows(finished.folder)[0]


@pytest.fixture(scope="module")
def interrupted(finished, tmp_path_factory):
    """A run in a terminal's stead: Ctrl-C after some evaluations, then the command that it printed."""
    cwd = tmp_path_factory.mktemp("interrupted")
    command = [sys.executable, str(ROOT / "experiments" / "train.py"), *SHORT, "--run-dir", "a folder/run"]
    options = {"cwd": cwd, "env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **options) as process:
        end = time.monotonic() + 90
        while checkpoints(cwd / "a folder" / "run") < 3 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    folder = cwd / "a folder" / "run"
    (again,) = [line.partition("Go on with:")[2].strip() for line in printed.splitlines() if "Go on with:" in line]
    stopped = {"steps": pearl.load(folder).num_timesteps, "result": (folder / "result.json").exists()}
    resumed = subprocess.run(shlex.split(again), timeout=120, check=False, **options)
    return {
        "folder": folder,
        "code": process.returncode,
        "printed": printed,
        "again": again,
        "resumed": resumed,
    } | stopped


def test_ctrl_c_saves_and_says_how_to_go_on(interrupted):
    assert interrupted["code"] == 130
    assert 0 < interrupted["steps"] < 3000
    assert not interrupted["result"]
    assert (
        f"Stopped at {interrupted['steps']:,} environment steps; the checkpoint is in a folder/run/checkpoint."
        in interrupted["printed"].splitlines()
    )
    assert "Traceback" not in interrupted["printed"]


def test_the_command_that_ctrl_c_prints_finishes_the_run_as_if_never_interrupted(interrupted, finished):
    assert interrupted["resumed"].returncode == 0, interrupted["resumed"].stdout
    assert rows(interrupted["folder"]) == rows(finished.folder)
    assert same_weights(interrupted["folder"], finished.folder)
    one, other = (
        json.loads((folder / "result.json").read_text()) for folder in (interrupted["folder"], finished.folder)
    )
    assert {**one, "wall_s": 0} == {**other, "wall_s": 0}
    assert sorted(path.name for path in (interrupted["folder"] / "plots").iterdir()) == sorted(
        path.name for path in (finished.folder / "plots").iterdir()
    )


def test_the_command_goes_on_with_the_interpreter_that_was_called(interrupted):
    words = shlex.split(interrupted["again"])
    assert words[0] == sys.executable
    assert words[-1] == "--resume"
    assert words[2:-1] == [*SHORT, "--run-dir", "a folder/run"]


def test_resuming_what_was_resumed_does_not_repeat_the_flag(monkeypatch, capsys, copied):
    monkeypatch.setattr(Run, "train", lambda run, **_: None)
    assert train.main([*SHORT, "--run-dir", str(copied), "--resume"]) == 130
    assert capsys.readouterr().out.count("--resume") == 1


@pytest.mark.parametrize("saved", [True, False])
def test_a_second_ctrl_c_says_what_is_left_to_go_on_with(monkeypatch, capsys, copied, tmp_path, saved):
    def interrupted(run, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train", interrupted)
    argv = [*SHORT, "--run-dir", str(copied), "--resume"] if saved else [*SHORT, "--run-dir", str(tmp_path / "new")]
    assert train.main(argv) == 130
    printed = capsys.readouterr().out
    assert printed.startswith("Ended at once; ")
    assert ("Go on with:" in printed, "no checkpoint yet" in printed) == (saved, not saved)


def test_resuming_a_finished_run_with_a_larger_total_goes_on(capsys, finished, copied, no_pictures):
    code, _ = printed_by(
        capsys, "point-robot", "--run-dir", copied, "--resume", "--total-steps", "3500", "--wandb", "disabled"
    )
    assert code == 0
    assert rows(copied)[: len(rows(finished.folder))] == rows(finished.folder)
    assert 3500 <= json.loads((copied / "result.json").read_text())["env_steps"] < 3740
    assert pearl.load(copied).num_timesteps == int(rows(copied)[-1]["env_steps"])


def test_resuming_a_finished_run_does_it_no_harm(capsys, finished, copied, no_pictures):
    code, printed = printed_by(capsys, *SHORT, "--run-dir", copied, "--resume")
    assert code == 0
    assert json.loads((finished.folder / "result.json").read_text())["headline"] in printed
    assert (copied / "progress.csv").read_bytes() == (finished.folder / "progress.csv").read_bytes()
    assert same_weights(copied, finished.folder)


def test_no_space_left_ends_the_run_with_the_last_good_checkpoint(start, finished, tmp_path, no_pictures):
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    argv = [*SHORT, "--run-dir", str(folder)]
    process = start(argv, log)
    wait_for(lambda: checkpoints(folder) >= 2, process)
    largest = largest_file(folder / "checkpoint")
    # From now on no file of this process may become larger than half of what a checkpoint needs.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest // 2, largest // 2))
    process.join(60)
    assert process.exitcode == 1
    (message,) = [line for line in log.read_text().splitlines() if line.startswith("Training ended:")]
    assert "cannot write the checkpoint" in message
    assert "stands untouched" in message
    assert "ulimit -f" in message
    assert "Traceback" not in log.read_text()
    steps = pearl.load(folder).num_timesteps
    assert steps == int(rows(finished.folder)[checkpoints(folder) - 1]["env_steps"])
    assert train.main([*argv, "--resume"]) == 0
    assert rows(folder) == rows(finished.folder)
    assert same_weights(folder, finished.folder)


def test_a_disk_that_is_full_from_the_start_is_no_traceback(start, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    process = start([*SHORTEST, "--run-dir", str(folder)], log, file_size_limit=3000)
    process.join(60)
    assert process.exitcode == 1, log.read_text()
    assert "Training ended: cannot write the checkpoint" in log.read_text()
    assert "There was no earlier checkpoint" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_resuming_from_a_damaged_checkpoint_names_the_file_and_changes_nothing(damaged, capsys):
    folder, file = damaged
    before = contents(folder)
    assert train.main([*SHORT, "--run-dir", str(folder), "--resume"]) == 2
    assert_one_error_names(file, capsys.readouterr().err)
    assert contents(folder) == before
