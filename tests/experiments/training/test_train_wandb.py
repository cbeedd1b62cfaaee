"""A run of the training script with W&B offline, read back from its log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import train

from tests.support.runs.script_runs import SHORTEST, environment, rows


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """The run's folder and the records of its W&B log."""
    folder = tmp_path_factory.mktemp("offline") / "run"
    argv = [*SHORTEST, "--wandb", "offline", "--run-dir", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        script = Path(train.__file__)
        printed = subprocess.run(
            [sys.executable, str(script), *argv], check=True, capture_output=True, text=True, timeout=180
        ).stdout
        (log,) = folder.glob("wandb/offline-run-*")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
        read = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return folder, log, printed, [json.loads(line) for line in read.splitlines()]


def records(offline, kind):
    return [record[kind] for record in offline[3] if record["type"] == kind]


def history(offline):
    return [record["item"] for record in records(offline, "history")]


def test_the_command_that_uploads_is_printed_on_one_line(offline):
    _, log, printed, _ = offline
    assert f"Upload to Weights & Biases with:  wandb sync {log}" in printed.splitlines()


def test_metrics_are_those_of_progress_over_environment_steps(offline):
    assert ("*", "env_steps") in [(m.get("glob_name"), m.get("step_metric")) for m in records(offline, "metric")]
    logged = [row for row in history(offline) if "test/score" in row]
    progress = rows(offline[0])
    assert [row["env_steps"] for row in logged] == [int(row["env_steps"]) for row in progress]
    for name in ("test/score", "test/return_ep3", "gradient_steps", "train/critic_loss"):
        assert [row.get(name) for row in logged] == [float(row[name]) if name in row else None for row in progress]


def test_the_configuration_is_the_runs(offline):
    (run, *_) = records(offline, "run")
    config = json.loads((offline[0] / "config.json").read_text())
    assert {name: run["config"]["update"][name] for name in config} == config
    assert run["display_name"] == "point-robot-seed0"


def test_every_picture_is_there_at_the_last_step(offline):
    last = int(rows(offline[0])[-1]["env_steps"])
    images = {
        name.removesuffix("._type"): row["env_steps"]
        for row in history(offline)
        for name, value in row.items()
        if value == "image-file"
    }
    assert images == {f"plots/{path.stem}": last for path in (offline[0] / "plots").glob("*.png")}
    assert len(images) == 5


def test_the_table_of_test_tasks_is_there(offline):
    (table,) = [row for row in history(offline) if row.get("test_tasks._type") == "table-file"]
    content = json.loads((offline[1] / "files" / table["test_tasks.path"]).read_text())
    assert content["columns"] == ["task", "return_ep1", "return_ep2", "return_ep3"]
    assert len(content["data"]) == 4
    assert content["data"][0][0].startswith("goal=")


def test_the_checkpoint_is_an_artifact(offline):
    (artifact,) = [record for record in records(offline, "artifact") if record["type"] == "model"]
    assert artifact["name"] == "point-robot-seed0"
    staged = {Path(content["path"]).name for content in artifact["manifest"]["contents"]}
    assert staged == {path.name for path in (offline[0] / "checkpoint").iterdir()}


def test_the_run_ended_well(offline):
    assert [record.get("exit_code", 0) for record in records(offline, "exit")] == [0]
