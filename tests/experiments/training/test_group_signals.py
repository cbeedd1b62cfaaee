"""Signals to a run's whole process group, as terminals and batch systems send them: workers live, the run is saved."""

import os
import signal
import subprocess
import sys

import pytest

import pearl
from tests.support.processes import ROOT
from tests.support.runs.script_runs import SETTINGS, checkpoints, environment, rows

TRAIN = str(ROOT / "experiments" / "train.py")
ARGUMENTS = ["point-robot", *SETTINGS, "--training.workers", "2", "--evaluation.interval", "300"]
# Sends a signal to the group at a certain place, once, and runs the training script.
SCRIPT = """
import os, runpy, signal, sys
from multiprocessing import forkserver, process
import pearl.model.meta_learner, pearl.runs.run, pearl.training.base

def signalling(owner, name, after=1, then=True):
    function, calls = getattr(owner, name), []
    def call(*args, **kwargs):
        calls.append(None)
        result = function(*args, **kwargs) if then else None
        if len(calls) == after:
            os.killpg(os.getpgrp(), signal.Signals(int(os.environ["NUMBER"])))
        return result if then else function(*args, **kwargs)
    setattr(owner, name, call)

places = {
    "the server starts": (forkserver, "ensure_running", 1, True),
    "a worker starts": (process.BaseProcess, "start", 1, True),
    "the last worker starts": (process.BaseProcess, "start", 2, True),
    "training": (pearl.training.base, "rollout", 2, False),
    "evaluating": (pearl.model.meta_learner, "evaluate", 2, False),
    "drawing": (pearl.runs.run.Run, "draw", 1, False),
}
if __name__ == "__main__":
    signalling(*places[os.environ["PLACE"]])
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_and_signal(folder, number, place, *more):
    """The exit code and all that is printed by a run whose group gets a signal, once all its processes have ended."""
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), TRAIN, *ARGUMENTS, "--run-dir", str(folder), *more],
        env=environment() | {"NUMBER": str(int(number)), "PLACE": place},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=120)  # Workers hold the pipe open too.
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, printed


@pytest.mark.parametrize(
    ("number", "place"),
    [
        (signal.SIGTERM, "the server starts"),
        (signal.SIGINT, "the server starts"),
        (signal.SIGTERM, "a worker starts"),
        (signal.SIGINT, "the last worker starts"),
        (signal.SIGTERM, "training"),
        (signal.SIGTERM, "evaluating"),
    ],
)
def test_a_signal_to_the_group_ends_training_with_a_checkpoint(tmp_path, number, place):
    folder = tmp_path / "run"
    code, printed = run_and_signal(folder, number, place, "--total-steps", "3000")
    assert code == 130, printed
    assert "Traceback" not in printed
    what = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"{what}: stopping after the running iteration" in printed
    assert checkpoints(folder) >= 1
    assert pearl.load(folder).num_timesteps == int(rows(folder)[-1]["env_steps"]) < 3000
    assert not (folder / "result.json").exists()


def test_a_signal_to_the_group_while_pictures_are_drawn_does_not_end_the_run(tmp_path):
    folder = tmp_path / "run"
    code, printed = run_and_signal(folder, signal.SIGTERM, "drawing", "--total-steps", "400")
    assert code == 0, printed
    assert "SIGTERM: training is finished; the run ends after drawing its pictures." in printed
    assert (folder / "result.json").exists()
    assert len(list((folder / "plots").iterdir())) == 5
