"""A run folder from a stranger overwrites nothing of its user's and holds nobody up; it has one writer at a time."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pearl import CheckpointError
from pearl.files.access import FileError
from pearl.model import meta_learner as model_module
from pearl.runs.folder import lock_run
from pearl.runs.run import Run, RunError, check_unused, read_progress
from pearl.runs.tracker import Tracker
from pearl.runs.wandb_writer import WandbWriter
from tests.support import small
from tests.support.processes import ROOT
from tests.support.runs.run_folders import go_on, model_of, rows, run_in, stop_at

pytestmark = [
    pytest.mark.usefixtures("quickly"),
    pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and signals"),
]
draw = Run.draw  # which the fixture replaces


@pytest.fixture(scope="module")
def stopped(quickly, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    stop_at(run_in(folder), 80)
    return folder


@pytest.fixture
def strange(stopped, tmp_path):
    """A stopped run's folder that somebody else may have prepared, and a folder of the user's."""
    shutil.copytree(stopped, tmp_path / "run")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("mine\n")
    yield SimpleNamespace(folder=tmp_path / "run", home=home, private=home / ".bashrc")
    assert {path.name: path.read_text() for path in home.iterdir()} == {".bashrc": "mine\n"}


FILES = [
    *("config.json", "tasks.json", "result.json", "wandb_id.txt", "progress.csv"),
    *("config.json.partial", "tasks.json.partial", "result.json.partial", "progress.csv.draft"),
    *("checkpoint/manifest.json.partial", "checkpoint/weights-000900.safetensors", "checkpoint/state-000900.json"),
    *("tables/test_tasks.csv", "plots/learning_curve.png", "plots/return_by_episode.png"),
]


def test_no_file_in_a_run_folder_that_is_a_link_is_written_through(strange, monkeypatch):
    monkeypatch.setattr(Run, "draw", draw)
    content = (strange.folder / "progress.csv").read_text()
    for name in FILES:
        path = strange.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(strange.private)
    (strange.folder / "progress.csv").unlink()
    (strange.folder / "kept.csv").write_text(content)
    (strange.folder / "progress.csv").symlink_to("kept.csv")
    go_on(strange.folder).train()
    written = ("config.json", "tasks.json", "result.json", "progress.csv", "tables/test_tasks.csv")
    for path in [*map(strange.folder.joinpath, written), *(strange.folder / "plots").iterdir()]:
        assert path.is_file()
        assert not path.is_symlink(), path
    assert (strange.folder / "kept.csv").read_text() == content


@pytest.mark.parametrize("name", ["checkpoint", "plots", "tables", "tensorboard"])
@pytest.mark.parametrize("leads", ["home", "nowhere"])
def test_a_folder_in_a_run_folder_that_is_a_link_is_refused_before_training(strange, name, leads):
    model = model_of()
    shutil.rmtree(strange.folder)
    strange.folder.mkdir()
    (strange.folder / name).symlink_to(strange.home.parent / leads)
    with pytest.raises(RunError, match=rf"Cannot write the run folder .*run/{name} is a link to .*{leads}"):
        run_in(strange.folder, model)


def test_a_pipe_that_stands_in_a_files_place_is_no_reason_to_choose_another_folder(strange):
    (strange.folder / "progress.csv").unlink()
    os.mkfifo(strange.folder / "progress.csv")
    with pytest.raises(RunError, match=r"progress\.csv is a named pipe") as raised:
        go_on(strange.folder)
    assert "--run-dir" not in str(raised.value)


def test_an_event_file_that_is_a_link_is_refused(strange):
    (strange.folder / "tensorboard" / "events.out.tfevents.1.host.2.0").symlink_to(strange.private)
    with pytest.raises(RunError, match=r"tensorboard/events\.out\.tfevents\.1\.host\.2\.0 is a link"):
        go_on(strange.folder)


@pytest.mark.parametrize("name", ["wandb", "wandb/artifacts", "wandb/offline-run-20300101_000000-1"])
def test_a_folder_of_wandbs_that_is_a_link_is_refused_but_its_own_links_are_not(strange, name):
    (strange.folder / name).parent.mkdir(exist_ok=True)
    (strange.folder / name).symlink_to(strange.home)
    with pytest.raises(FileError, match=rf"run/{name} is a link"):
        Tracker(strange.folder, config={}, name="a", wandb_mode="offline", resume_env_steps=80)


def test_what_links_lead_to_is_not_uploaded_with_a_checkpoint(strange):
    logged: list[Any] = []
    run = SimpleNamespace(
        offline=True,
        dir=strange.folder / "wandb" / "files",
        id="a",
        define_metric=lambda *_, **__: None,
        log_artifact=logged.append,
    )
    (strange.folder / "checkpoint" / "notes.txt").symlink_to(strange.private)
    WandbWriter(run, strange.folder).artifact(strange.folder / "checkpoint", "agent", "model")
    names = set(logged[0].manifest.entries)
    assert "manifest.json" in names
    assert names == small.files_of(strange.folder / "checkpoint") - {"notes.txt"}


def test_the_folder_that_the_user_names_may_be_a_link(whole, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "runs").symlink_to("scratch")
    stop_at(run_in(tmp_path / "runs"), 80)
    go_on(tmp_path / "runs").train()
    assert rows(tmp_path / "scratch") == rows(whole.folder)


def test_a_checkpoint_is_read_through_links_as_model_hubs_keep_them(whole, strange):
    checkpoint = strange.folder / "checkpoint"
    for path in list(checkpoint.iterdir()):
        path.rename(strange.folder / path.name)
        path.symlink_to(strange.folder / path.name)
    go_on(strange.folder).train()
    assert rows(strange.folder) == rows(whole.folder)
    assert not any(path.is_symlink() for path in checkpoint.iterdir())


@pytest.mark.parametrize("name", ["progress.csv", "checkpoint/manifest.json", "checkpoint/state-*.json"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_named_and_not_waited_for(strange, name):
    (path,) = strange.folder.glob(name)
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        path.unlink()
        make(path)
        with pytest.raises(
            (RunError, CheckpointError), match=rf"{path.name} is a (named pipe|device), not a regular file"
        ):
            go_on(strange.folder)


def test_pipes_where_files_are_only_written_hold_nothing_up(strange):
    for name in ("config.json", "tasks.json", "config.json.partial", "progress.csv.draft"):
        (strange.folder / name).unlink(missing_ok=True)
        os.mkfifo(strange.folder / name)
    go_on(strange.folder).train()


def test_a_new_run_is_not_started_beside_a_manifest_or_rows_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "progress.csv")
    with pytest.raises(RunError, match=r"a run's progress\.csv without"):
        check_unused(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    os.mkfifo(tmp_path / "checkpoint" / "manifest.json")
    with pytest.raises(RunError, match="already holds a run"):
        check_unused(tmp_path)


def test_rows_that_a_run_had_at_its_checkpoint_and_has_no_more_are_missed(strange):
    path = strange.folder / "progress.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:7])
    with pytest.raises(ValueError, match=r"progress\.csv ends at 0 environment steps, but .* lines are lost.*delete"):
        go_on(strange.folder)
    path.unlink()
    resumed = go_on(strange.folder)
    assert resumed.train() is not None
    assert min(read_progress(strange.folder)["env_steps"]) > 80


def test_deleting_the_rows_and_a_kill_before_the_next_ones_is_no_damage(strange):
    (strange.folder / "progress.csv").unlink()
    for _ in range(2):
        run = go_on(strange.folder)
        run.tracker.close()
        del run
    assert not (strange.folder / "progress.csv").exists()


def test_text_that_a_callback_recorded_is_no_number_and_no_error(tmp_path):
    (tmp_path / "progress.csv").write_text("env_steps,note\n1,good\n2,\n")
    assert read_progress(tmp_path)["env_steps"].tolist() == [1, 2]


def test_a_second_run_in_the_folder_of_one_that_trains_is_refused(tmp_path):
    first = run_in(tmp_path)
    with pytest.raises(RunError, match=rf"in use by process {os.getpid()} on .*choose another folder with --run-dir"):
        run_in(tmp_path, model_of())
    seen = []

    def evaluated(metrics):
        with pytest.raises(RunError, match="in use by process"):
            go_on(tmp_path)
        seen.append(metrics["env_steps"])

    assert first.train(on_evaluation=evaluated) is not None
    assert len(seen) > 2
    assert rows(tmp_path)[-1]["env_steps"] == str(int(seen[-1]))
    assert not (tmp_path / ".lock").exists()


def test_a_run_that_fails_to_start_or_to_train_locks_nothing(tmp_path, monkeypatch):
    (tmp_path / "plots").symlink_to(tmp_path)
    with pytest.raises(RunError, match="plots is a link"):
        run_in(tmp_path)
    (tmp_path / "plots").unlink()
    run = run_in(tmp_path)

    def fail(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_module.MetaLearner, "learn", fail)
        with pytest.raises(KeyboardInterrupt):
            run.train()
    stop_at(run_in(tmp_path), 0)


TRAINS = """
import sys
from pathlib import Path
from tests.support.runs.run_folders import run_in
run_in(Path(sys.argv[1])).train(
    on_evaluation=lambda metrics: (print("evaluated", flush=True), sys.stdin.readline())
)
"""


def test_of_two_new_runs_in_one_folder_one_trains_and_the_other_says_which(tmp_path):
    command = [sys.executable, "-c", TRAINS, str(tmp_path / "run")]
    options = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True, "cwd": tmp_path}
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    try:
        assert first.stdout.readline() == "evaluated\n"
        second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, **options)
        assert second.returncode == 1
        assert f"in use by process {first.pid} on" in second.stderr
    finally:
        first.kill()
        first.wait()
        first.stdin.close()
        first.stdout.close()
    assert go_on(tmp_path / "run").train() is not None


def test_a_folder_in_use_is_told_before_what_it_holds(tmp_path):
    model_of().save(tmp_path / "run" / "checkpoint")
    lock = lock_run(tmp_path / "run")
    with pytest.raises(RunError, match="is in use by process"):
        check_unused(tmp_path / "run")
    lock.release()
    with pytest.raises(RunError, match="already holds a run"):
        check_unused(tmp_path / "run")
