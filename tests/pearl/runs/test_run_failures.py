"""A run that a signal, a failing environment, divergence or a full disk ends keeps its last good checkpoint."""

import errno
import json
import os
import signal
import threading

import pytest
import torch

from pearl import CheckpointError, DivergedError, NonFiniteError
from pearl.checkpoint import store as checkpoint
from pearl.runs.run import Run, RunError, resume
from tests.support import small
from tests.support.runs.run_folders import go_on, model_of, rows, run_in, steps_of
from tests.support.small import Counting, everything_learnt

pytestmark = pytest.mark.usefixtures("quickly")
draw = Run.draw  # which the fixture replaces


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_with_a_checkpoint(tmp_path, number):
    usual = signal.getsignal(number)
    run = run_in(tmp_path)

    def evaluated(metrics):
        if metrics["env_steps"] == 80:
            os.kill(os.getpid(), number)

    assert run.train(on_evaluation=evaluated) is None
    assert resume(tmp_path, distribution=Counting()).num_timesteps == run.model.num_timesteps == 80
    assert signal.getsignal(number) is usual


def test_a_signal_in_the_middle_of_an_iteration_ends_training_after_it(whole, tmp_path):
    run = run_in(tmp_path)

    def step(local, _):
        if local["self"].num_timesteps == 92:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    assert run.train(callback=step) is None
    assert run.model.num_timesteps == 112
    resumed = go_on(tmp_path)
    resumed.train()
    assert small.differences(everything_learnt(whole.model), everything_learnt(resumed.model)) == []
    assert rows(tmp_path) == rows(whole.folder)


def test_a_signal_says_at_once_what_follows_from_it(tmp_path, capfd):
    run = run_in(tmp_path)

    def step(local, _):
        if local["self"].num_timesteps == 92:
            os.kill(os.getpid(), signal.SIGINT)
            said = "Ctrl-C: stopping after the running iteration; then the checkpoint is written. A second Ctrl-C ends"
            assert said in capfd.readouterr().err
        return True

    assert run.train(callback=step) is None


@pytest.fixture
def usual():
    """Python's own handler of SIGINT, also where the tests were started in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_training_at_once_and_the_last_checkpoint_stands(tmp_path, usual):
    run = run_in(tmp_path)

    def step(local, _):
        if local["self"].num_timesteps > 90:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    with pytest.raises(KeyboardInterrupt):
        run.train(callback=step)
    assert resume(tmp_path, distribution=Counting()).num_timesteps == 80
    assert signal.getsignal(signal.SIGINT) is usual


def test_a_run_trains_in_a_thread_that_may_not_handle_signals(tmp_path):
    run, outcome = run_in(tmp_path), []
    thread = threading.Thread(target=lambda: outcome.append(run.train()))
    thread.start()
    thread.join(60)
    assert outcome[0] is not None
    assert (tmp_path / "result.json").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_ends_the_run_and_the_last_checkpoint_stands(tmp_path, value):
    family = Counting(broken=("reward", 17, value))
    run = run_in(tmp_path, model_of(family))
    with pytest.raises(NonFiniteError, match=rf"task \d+ \(number=.*returned reward {value} at step \d+") as error:
        run.train()
    assert "checkpoint" not in str(error.value), "the environment's error cannot know whether there is one"
    model = resume(tmp_path, distribution=Counting())
    assert model.num_timesteps == steps_of(tmp_path)[-1]
    assert not (tmp_path / "result.json").exists()


def test_a_run_that_diverges_keeps_its_last_checkpoint(tmp_path):
    run = run_in(tmp_path)
    finite = run.model.agent.update

    def update(batch, rng):
        metrics = finite(batch, rng)
        if run.model.num_timesteps > 100:
            metrics = metrics | {"critic_loss": torch.tensor(float("nan"))}
        return metrics

    run.model.agent.update = update
    with pytest.raises(DivergedError, match="critic_loss is not finite") as error:
        run.train()
    assert "checkpoint" not in str(error.value)
    kept = everything_learnt(resume(tmp_path, distribution=Counting()))
    assert kept["env_steps"] == 80


def test_a_full_disk_ends_the_run_and_the_last_good_checkpoint_stands(whole, tmp_path, monkeypatch):
    run = run_in(tmp_path)
    write = checkpoint._write_file

    def full(path, *rest):
        if run.model.num_timesteps >= 112 and path.name.startswith("replay"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_file", full)
        with pytest.raises(CheckpointError, match=r"No space left.*last good checkpoint .* stands.*Free some space"):
            run.train()
    resumed = go_on(tmp_path)
    assert resumed.model.num_timesteps == 80
    resumed.train()
    assert small.differences(everything_learnt(whole.model), everything_learnt(resumed.model)) == []


def raising(*_, **__):
    raise ValueError("a font\nis missing")


@pytest.mark.parametrize(
    "broken", ["pearl.runs.run.read_progress", "pearl.plots.learning_curve", "matplotlib.figure.Figure.savefig"]
)
def test_a_picture_that_fails_is_a_line_on_stderr_and_the_run_has_its_result(tmp_path, monkeypatch, capsys, broken):
    run = run_in(tmp_path)
    monkeypatch.setattr(Run, "draw", draw)
    monkeypatch.setattr(broken, raising)
    assert run.train() is not None
    drawn = {path.name for path in (tmp_path / "plots").glob("*.png")}
    assert drawn == (
        set() if "savefig" in broken else {"return_by_episode.png", "posterior_means.png", "posterior_spread.png"}
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Warning: the learning curve was not drawn (ValueError: a font is missing)."
    assert len(lines) == 4 - len(drawn)
    assert json.loads((tmp_path / "result.json").read_text())["env_steps"] == run.model.num_timesteps


@pytest.mark.parametrize("failing", ["draw", "image", "table", "artifact", "close"])
def test_what_fails_after_the_result_is_a_line_on_stderr(whole, tmp_path, monkeypatch, capsys, failing):
    run = run_in(tmp_path)
    monkeypatch.setattr(run, "draw", lambda evaluation: [tmp_path / "config.json"])
    monkeypatch.setattr(run.tracker, "image", lambda *_: None)
    monkeypatch.setattr(run if failing == "draw" else run.tracker, failing, raising)
    assert run.train() is not None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Warning: ")
    assert line.endswith("(ValueError: a font is missing).")
    assert (tmp_path / "result.json").exists()


def test_a_result_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    run = run_in(tmp_path)

    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pearl.runs.run.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        run.train()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("wandb", ["offline", "online"])
def test_wandb_that_was_asked_for_and_cannot_start_is_told_before_training(tmp_path, monkeypatch, wandb):
    monkeypatch.setattr("pearl.runs.wandb_writer._wandb_settings", raising)
    with pytest.raises(RunError, match=r"W&B cannot start .*a font is missing.*--wandb disabled"):
        Run(model_of(), tmp_path, wandb=wandb)
