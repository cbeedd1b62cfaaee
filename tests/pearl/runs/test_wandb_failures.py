"""Weights & Biases never ends a run: what fails at its start or later costs a line, or an error before training."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pearl.runs.wandb_mode import WandbError
from pearl.runs.wandb_writer import WandbWriter, has_wandb_key
from tests.support.runs.trackers import (
    FakeRun,
    local_tracker,
    log_row,
    read_rows,
    tracking,
)

pytestmark = pytest.mark.usefixtures("empty_working_directory")


def test_a_wandb_process_that_dies_costs_one_warning_and_no_training(tmp_path, capsys):
    run = FakeRun()
    writer = WandbWriter(run, tmp_path)
    run.alive = False
    for step in range(3):
        writer.write({"test/score": 1.0}, {"test/score": ("",)}, step=step)
    writer.close()
    (warning,) = capsys.readouterr().err.splitlines()
    assert "ConnectionResetError" in warning
    assert "wandb sync" in warning


def test_a_run_that_failed_ends_as_failed(tmp_path, monkeypatch):
    run = FakeRun()
    monkeypatch.setattr("pearl.runs.tracker.start_wandb", lambda run_dir, **_: WandbWriter(run, run_dir))
    local_tracker(tmp_path).close(exit_code=1)
    assert run.exit_codes == [1]


def break_wandb(how: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    if how == "no home":
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[f"getpwuid(): uid not found: {uid}"])
    elif how == "no package":
        monkeypatch.setitem(sys.modules, "wandb", None)
    elif how == "settings":
        (folder / "config").mkdir()
        (folder / "config" / "settings").write_bytes(b"\xff\xfe no settings")
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(folder / "config"))
    else:
        monkeypatch.setenv(*how.split("=", 1))


BROKEN = {
    "no home": "home directory",
    "no package": "import of wandb halted",
    "settings": "can't decode byte 0xff",
    "WANDB_BASE_URL=not a url": "base_url",
    "WANDB_BASE_URL=http://[::": "base_url",
    "WANDB_BASE_URL=http://example.org:99999": "base_url",
    "WANDB_RUN_ID=a/b": "Run ID",
}


@pytest.mark.usefixtures("fresh_wandb")
@pytest.mark.parametrize("how", BROKEN)
def test_in_auto_mode_a_wandb_that_cannot_start_costs_one_line(tmp_path, monkeypatch, capfd, how):
    break_wandb(how, monkeypatch, tmp_path)
    with tracking(tmp_path / "run", wandb_mode="auto") as tracker:
        log_row(tracker, 1, {"test/score": 1.0})
        assert tracker._wandb is None
    assert read_rows(tmp_path / "run")[0]["test/score"] == "1.0"
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("W&B cannot start (")
    assert BROKEN[how] in line
    assert line.endswith("Training continues without W&B.")


@pytest.mark.usefixtures("fresh_wandb")
@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("how", ["no home", "no package", "settings", "WANDB_BASE_URL=not a url"])
def test_where_wandb_was_asked_for_it_is_an_error_that_says_what_to_do(tmp_path, monkeypatch, how, mode):
    break_wandb(how, monkeypatch, tmp_path)
    with pytest.raises(WandbError, match=f"W&B cannot start .*{BROKEN[how]}.*--wandb disabled"):
        local_tracker(tmp_path / "run", wandb_mode=mode)


def test_a_netrc_file_that_is_no_text_is_one_line_and_no_key(tmp_path, monkeypatch, capsys):
    (tmp_path / "netrc").write_bytes(b"\xff\xfe machine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_wandb_key()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "netrc") in line


@pytest.mark.parametrize("error", [RuntimeError("no loop"), AssertionError(), TypeError("x"), BrokenPipeError()])
def test_whatever_wandb_raises_after_its_start_costs_one_warning(tmp_path, capsys, error):
    run = FakeRun()
    writer = WandbWriter(run, tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    run.log = run.finish = fail
    writer.image("plots/curve", tmp_path / "curve.png", 1)
    writer.write({"test/score": 1.0}, {"test/score": ("",)}, step=2)
    writer.table("a", ["b"], [[1]])
    writer.artifact(tmp_path, "a", "model")
    writer.close()
    (warning,) = capsys.readouterr().err.splitlines()
    assert "W&B stopped (" in warning
