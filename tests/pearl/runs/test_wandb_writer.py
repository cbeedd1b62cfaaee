"""Weights & Biases: modes, what an offline run holds when read back, and starts that never hang."""

import json
import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from stable_baselines3.common.logger import HParam

from pearl.runs import wandb_writer
from pearl.runs.wandb_mode import resolve_wandb_mode
from pearl.runs.wandb_writer import has_wandb_key
from tests.support.processes import ROOT
from tests.support.runs.trackers import (
    CONFIG,
    clean_environment,
    log_row,
    tracking,
)

pytestmark = pytest.mark.usefixtures("empty_working_directory")


def no_key() -> bool:
    return False


def a_key() -> bool:
    return True


@pytest.mark.parametrize("requested", ["online", "offline", "disabled"])
def test_an_explicit_mode_wins_over_the_environment(requested):
    assert resolve_wandb_mode(requested, {"WANDB_MODE": "offline"}, a_key) == requested


@pytest.mark.parametrize(
    ("from_environment", "expected"),
    [("online", "online"), ("offline", "offline"), ("disabled", "disabled"), ("dryrun", "offline"), ("run", "online")],
)
def test_auto_follows_the_environment(from_environment, expected):
    assert resolve_wandb_mode("auto", {"WANDB_MODE": from_environment}, no_key) == expected


def test_auto_is_online_only_with_a_key():
    assert resolve_wandb_mode("auto", {}, a_key) == "online"
    assert resolve_wandb_mode("auto", {}, no_key) == "offline"


def test_unknown_modes_are_refused():
    with pytest.raises(ValueError, match=r"wandb_mode is 'of'"):
        resolve_wandb_mode("of", {}, no_key)
    with pytest.raises(ValueError, match=r"WANDB_MODE is 'maybe'"):
        resolve_wandb_mode("auto", {"WANDB_MODE": "maybe"}, no_key)


def test_a_key_is_found_in_the_environment_in_settings_and_in_netrc(tmp_path, monkeypatch):
    settings = SimpleNamespace(api_key=None, base_url="https://api.wandb.ai")
    monkeypatch.setattr(wandb_writer, "_wandb_settings", lambda: settings)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_wandb_key()
    (tmp_path / "netrc").write_text(f"machine example.org login user password {'a' * 40}\n")
    assert not has_wandb_key()
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'a' * 40}\n")
    assert has_wandb_key()
    (tmp_path / "netrc").unlink()
    settings.api_key = "a" * 40
    assert has_wandb_key()
    settings.api_key = None
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert has_wandb_key()


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of two sessions (the second resumes the first), the first read back by `wandb leet inspect`."""
    run_dir = tmp_path_factory.mktemp("offline")
    Image.new("RGB", (6, 4), "red").save(run_dir / "curve.png")
    (run_dir / "checkpoint").mkdir()
    (run_dir / "checkpoint" / "weights.bin").write_bytes(b"weights")
    with tracking(run_dir, wandb_mode="offline") as tracker:
        assert tracker.sync_command is not None
        log_row(tracker, 1000, {"test/score": -5.0, "train/kl": math.nan})
        tracker.logger.record("hparam", HParam({"optimizer": "Adam"}, {"test/score": 0.0}), exclude=("csv",))
        log_row(tracker, 2000, {"test/score": -2.5})
        tracker.image("plots/curve", run_dir / "curve.png", 2000)
        tracker.table("test/final", ["velocity", "return"], [[0.5, -10.0], [1.5, -20.0]])
        tracker.artifact(run_dir / "checkpoint", "cheetah vel/0", "model")
        first = tracker.sync_command
    with tracking(run_dir, wandb_mode="offline", resume_env_steps=1000) as tracker:
        log_row(tracker, 3000, {"test/score": -1.0})
        second = tracker.sync_command
    assert first is not None
    assert second is not None
    folders = [Path(command.removeprefix("wandb sync ")) for command in (first, second)]
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folders[0])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
    return SimpleNamespace(
        run_dir=run_dir, folders=folders, records=[json.loads(line) for line in printed.splitlines()]
    )


def records(run: SimpleNamespace, kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in run.records if record["type"] == kind]


def test_wandb_metrics_have_environment_steps_as_their_axis(offline_run):
    metrics = records(offline_run, "metric")
    assert [(metric.get("glob_name"), metric.get("step_metric")) for metric in metrics] == [
        (None, None),
        ("*", "env_steps"),
    ]
    history = [record["item"] for record in records(offline_run, "history")]
    assert [(row["env_steps"], row["test/score"]) for row in history if "test/score" in row] == [
        (1000, -5.0),
        (2000, -2.5),
    ]
    assert history[0]["train/kl"] == "NaN"


def test_wandb_keeps_the_configuration_and_hyperparameters(offline_run):
    (run, *_) = records(offline_run, "run")
    assert run["display_name"] == "a run"
    assert run["project"] == "pearl-metarl"
    assert {key: run["config"]["update"][key] for key in CONFIG} == CONFIG
    assert '"Adam"' in json.dumps(offline_run.records)


def test_wandb_keeps_plots_and_tables(offline_run):
    rows = [record["item"] for record in records(offline_run, "history")]
    (image,) = [row for row in rows if row.get("plots/curve._type") == "image-file"]
    assert (image["env_steps"], image["plots/curve.width"], image["plots/curve.height"]) == (2000, 6, 4)
    (table,) = [row for row in rows if row.get("test/final._type") == "table-file"]
    (file,) = offline_run.run_dir.glob(f"wandb/offline-run-*/files/{table['test/final.path']}")
    assert json.loads(file.read_text()) == {"columns": ["velocity", "return"], "data": [[0.5, -10.0], [1.5, -20.0]]}


def test_wandb_artifacts_are_staged_in_the_run_folder(offline_run):
    (artifact,) = [record for record in records(offline_run, "artifact") if record["type"] == "model"]
    assert artifact["name"] == "cheetah-vel-0"
    (content,) = artifact["manifest"]["contents"]
    staged = Path(content["local_path"])
    assert staged.is_relative_to(offline_run.run_dir / "wandb")
    assert staged.read_bytes() == b"weights"


def test_a_resumed_run_is_the_same_wandb_run(offline_run):
    run_id = (offline_run.run_dir / "wandb_id.txt").read_text().strip()
    assert records(offline_run, "run")[0]["run_id"] == run_id
    assert len({*offline_run.folders}) == 2
    assert [len(list(folder.glob(f"run-{run_id}.wandb"))) for folder in offline_run.folders] == [1, 1]


def test_closing_ends_the_wandb_run_with_its_exit_code(offline_run):
    assert [record.get("exit_code", 0) for record in records(offline_run, "exit")] == [0]


START_WITHOUT_NETWORK = """
import json, pathlib, sys, time
from pearl.runs.tracker import Tracker
run_dir = pathlib.Path(sys.argv[1])
facts = {"imported by pearl.runs.tracker": "wandb" in sys.modules}
tracker = Tracker(run_dir / "none", config={}, name="a run", wandb_mode="disabled", console=False)
tracker.logger.record("test/score", 1.0)
tracker.logger.dump(1)
tracker.close()
facts["imported where disabled"] = "wandb" in sys.modules
start = time.monotonic()
tracker = Tracker(run_dir / "key", config={"seed": 0}, name="a run", console=False)
facts["seconds"] = time.monotonic() - start
tracker.logger.record("test/score", 1.0)
tracker.logger.dump(1)
facts["sync_command"] = tracker.sync_command
tracker.close()
print(json.dumps(facts))
"""


def start_without_network(run_dir: Path, cwd: Path, port: int) -> SimpleNamespace:
    """What a fresh process finds when it starts with an API key and this port in the place of W&B's server."""
    process = subprocess.run(
        [sys.executable, "-c", START_WITHOUT_NETWORK, str(run_dir)],
        cwd=cwd,
        env={
            **clean_environment(),
            "PYTHONPATH": str(ROOT),
            "WANDB_API_KEY": "0123456789" * 4,
            "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (printed,) = process.stdout.splitlines()
    run_id = (run_dir / "key" / "wandb_id.txt").read_text().strip()
    return SimpleNamespace(facts=json.loads(printed), stderr=process.stderr.splitlines(), run_id=run_id)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server on this machine that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    run_dir, cwd = tmp_path_factory.mktemp("unreachable"), tmp_path_factory.mktemp("cwd")
    start = start_without_network(run_dir, cwd, closed_port)
    assert list(cwd.iterdir()) == [], "the run wrote into the working directory"
    return start


def test_wandb_is_imported_only_where_a_run_starts(unreachable):
    assert not unreachable.facts["imported by pearl.runs.tracker"]
    assert not unreachable.facts["imported where disabled"]


def test_a_key_without_network_starts_offline_within_15_seconds(unreachable):
    assert unreachable.facts["seconds"] < 15
    assert unreachable.facts["sync_command"] is not None


def test_a_key_without_network_prints_one_line_that_says_how_to_sync(unreachable):
    (warning,) = unreachable.stderr
    assert "out of reach" in warning
    assert unreachable.facts["sync_command"] in warning
    (log,) = Path(unreachable.facts["sync_command"].split()[-1]).glob("*.wandb")
    assert log.name == f"run-{unreachable.run_id}.wandb"


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up_within_15_seconds(tmp_path, silent_port):
    start = start_without_network(tmp_path / "run", Path.cwd(), silent_port)
    assert wandb_writer.START_BUDGET_S - 1 < start.facts["seconds"] < 15
    assert start.facts["sync_command"] is not None
    (warning,) = start.stderr
    assert f"wandb sync --id {start.run_id} " in warning


def test_a_start_that_fails_online_goes_on_offline_and_syncs_to_the_same_run(tmp_path, monkeypatch, capsys):
    start = wandb_writer._init

    def fail_online(run_dir: Path, config: Any, name: str, mode: Any, run_id: str | None, timeout_s: float) -> Any:
        if mode == "online":
            raise TimeoutError("no answer\nwithin 10 s")
        return start(run_dir, config, name, mode, run_id, timeout_s)

    monkeypatch.setattr(wandb_writer, "_init", fail_online)
    monkeypatch.setattr(wandb_writer, "_offline_reason", lambda: "")
    with tracking(tmp_path, wandb_mode="online") as tracker:
        assert tracker.sync_command is not None
    (warning,) = capsys.readouterr().err.splitlines()
    assert "TimeoutError: no answer" in warning
    assert f"wandb sync --id {(tmp_path / 'wandb_id.txt').read_text().strip()} " in warning


def test_online_without_a_key_does_not_ask_but_starts_offline(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb_writer, "has_wandb_key", no_key)
    with tracking(tmp_path, wandb_mode="online") as tracker:
        assert tracker.sync_command is not None
    (warning,) = capsys.readouterr().err.splitlines()
    assert "wandb login" in warning
    assert "wandb sync" in warning


@pytest.mark.usefixtures("fresh_wandb")
def test_what_wandb_reads_from_the_environment_is_heeded(tmp_path, monkeypatch):
    named = {"NAME": "mine", "RUN_ID": "abc123", "PROJECT": "p", "ENTITY": "e", "NOTES": "n", "RUN_GROUP": "g"}
    for name, value in named.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("WANDB_TAGS", "a,b")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    with tracking(tmp_path / "run", wandb_mode="offline") as tracker:
        writer = tracker._wandb
        assert writer is not None
        run = writer._run
        assert run is not None
        assert (run.name, run.id, run.project, run.entity, run.notes, run.group) == tuple(named.values())
        assert run.tags == ("a", "b")
        assert writer.folder.is_relative_to(tmp_path / "elsewhere")
        assert tracker.sync_command == f"wandb sync {writer.folder}"
    monkeypatch.delenv("WANDB_RUN_ID")
    with tracking(tmp_path / "run", wandb_mode="offline", resume_env_steps=0) as tracker:
        assert tracker._wandb is not None
        assert tracker._wandb._run is not None
        assert tracker._wandb._run.id == "abc123"
