"""Tracking: what was logged can be read back from every output; neither a kill nor a missing network costs a run."""

import csv
import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import FormatUnsupportedError, HParam
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pearl import wandb_writer
from pearl.tracking import ProgressCSV, Tracker, column_order
from pearl.wandb_writer import WandbWriter, has_wandb_key, resolve_wandb_mode

REPOSITORY = Path(__file__).parents[2]
CONFIG = {"family": "cheetah-vel", "agent": {"latent_dim": 5, "hidden": [300, 300]}}
WHAT_WANDB_READS = ("WANDB_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(WHAT_WANDB_READS)}


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    yield folder
    assert list(folder.iterdir()) == [], "a test wrote into the working directory"


def local_tracker(run_dir: Path, **options: Any) -> Tracker:
    settings: dict[str, Any] = {"wandb_mode": "disabled", "console": False, "tensorboard": False, **options}
    return Tracker(run_dir, config=CONFIG, name="a run", **settings)


def read_rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_header(run_dir: Path) -> list[str]:
    return (run_dir / "progress.csv").read_text().splitlines()[0].split(",")


def test_columns_start_with_counters_then_test_returns_by_episode_then_the_rest_sorted():
    keys = ["train/kl", "test/score", "test/return_ep10", "wall_s", "test/return_ep2", "alpha", "gradient_steps"]
    assert column_order([*keys, "env_steps", "test/return_ep1"]) == [
        "env_steps",
        "gradient_steps",
        "wall_s",
        "test/return_ep1",
        "test/return_ep2",
        "test/return_ep10",
        "test/score",
        "alpha",
        "train/kl",
    ]


def test_every_row_is_on_disk_before_the_file_is_closed(tmp_path):
    tracker = local_tracker(tmp_path)
    for row in range(1, 4):
        tracker.log(100 * row, {"test/score": row / 3})
        assert [float(line["test/score"]) for line in read_rows(tmp_path)] == [n / 3 for n in range(1, row + 1)]
    tracker.close()


def test_a_late_value_adds_a_column_and_leaves_earlier_rows_as_they_were(tmp_path):
    with local_tracker(tmp_path) as tracker:
        tracker.log(100, {"train/kl": 0.5, "gradient_steps": 7})
        tracker.log(200, {"train/kl": 0.25, "gradient_steps": 8, "test/score": -3.0})
        tracker.log(300, {"train/kl": 0.125})
    assert read_header(tmp_path) == ["env_steps", "gradient_steps", "test/score", "train/kl"]
    assert [list(row.values()) for row in read_rows(tmp_path)] == [
        ["100", "7", "", "0.5"],
        ["200", "8", "-3.0", "0.25"],
        ["300", "", "", "0.125"],
    ]


def test_numbers_survive_the_csv_exactly(tmp_path):
    values = {"a": 0.1 + 0.2, "b": np.float32(1e-7), "c": torch.tensor(3.5), "d": math.inf, "e": 2**60}
    with local_tracker(tmp_path) as tracker:
        tracker.log(1, values)
    (row,) = read_rows(tmp_path)
    assert {key: float(row[key]) for key in values} == {key: float(value) for key, value in values.items()}


def test_nan_is_logged_as_nan_and_the_next_row_still_arrives(tmp_path):
    with local_tracker(tmp_path, console=True, tensorboard=True) as tracker:
        tracker.log(1, {"train/loss": math.nan})
        tracker.log(2, {"train/loss": 1.0})
    assert [row["train/loss"] for row in read_rows(tmp_path)] == ["nan", "1.0"]


def test_resuming_keeps_the_rows_of_the_checkpoint_and_drops_later_ones(tmp_path):
    with local_tracker(tmp_path) as tracker:
        for env_steps in (100, 200, 300, 400):
            tracker.log(env_steps, {"test/score": env_steps / 10})
    with local_tracker(tmp_path, resume_env_steps=200) as tracker:
        tracker.log(300, {"test/score": -1.0, "train/kl": 2.0})
    assert [(row["env_steps"], row["test/score"], row["train/kl"]) for row in read_rows(tmp_path)] == [
        ("100", "10.0", ""),
        ("200", "20.0", ""),
        ("300", "-1.0", "2.0"),
    ]


@pytest.mark.parametrize("lost", [1, 2, 5, 8])
def test_resuming_drops_a_last_line_that_was_cut_off_in_writing(tmp_path, lost):
    with local_tracker(tmp_path) as tracker:
        tracker.log(100, {"test/score": 1.25})
        tracker.log(200, {"test/score": 2.25})
    path = tmp_path / "progress.csv"
    path.write_bytes(path.read_bytes()[:-lost])
    with local_tracker(tmp_path, resume_env_steps=1000) as tracker:
        tracker.log(300, {"test/score": 3.25})
    assert [row["env_steps"] for row in read_rows(tmp_path)] == ["100", "300"]


def test_resuming_without_a_progress_file_starts_one(tmp_path):
    with local_tracker(tmp_path, resume_env_steps=500) as tracker:
        tracker.log(600, {"test/score": 1.0})
    assert [row["env_steps"] for row in read_rows(tmp_path)] == ["600"]


def test_resuming_a_damaged_file_names_the_line(tmp_path):
    (tmp_path / "progress.csv").write_text("env_steps,test/score\n100,1.0\n200\n300,3.0\n")
    with pytest.raises(ValueError, match=r"progress\.csv, line 3, does not fit the header: '200'"):
        local_tracker(tmp_path, resume_env_steps=300)


def test_a_new_run_refuses_to_overwrite_the_rows_of_another(tmp_path):
    with local_tracker(tmp_path) as tracker:
        tracker.log(100, {"test/score": 1.0})
    with pytest.raises(FileExistsError, match="resume_env_steps"):
        local_tracker(tmp_path)
    assert len(read_rows(tmp_path)) == 1


def test_a_run_that_logged_nothing_does_not_block_the_next_one(tmp_path):
    local_tracker(tmp_path).close()
    with local_tracker(tmp_path) as tracker:
        tracker.log(100, {"test/score": 1.0})
    assert len(read_rows(tmp_path)) == 1


def test_a_text_cell_stays_on_one_line(tmp_path):
    output = ProgressCSV(tmp_path / "progress.csv")
    output.write({"note": 'two\nlines, "quoted"'}, {"note": ("",)}, step=1)
    output.close()
    assert [row["note"] for row in read_rows(tmp_path)] == ['two lines, "quoted"']


def test_a_value_that_fits_no_cell_is_refused_unless_excluded(tmp_path):
    output = ProgressCSV(tmp_path / "progress.csv")
    with pytest.raises(FormatUnsupportedError, match="ndarray"):
        output.write({"weights": np.zeros(3)}, {"weights": ("",)}, step=1)
    output.write({"weights": np.zeros(3)}, {"weights": ("csv",)}, step=1)
    output.close()
    assert read_header(tmp_path) == ["env_steps"]


def test_what_a_callback_records_and_dumps_itself_is_a_row_at_its_environment_steps(tmp_path):
    class Recorder(BaseCallback):
        def _on_step(self) -> bool:
            self.logger.record("eval/mean_reward", 12.5)
            self.logger.dump(self.num_timesteps)
            self.logger.record("rollout/entropy", 0.5)
            return True

    with local_tracker(tmp_path) as tracker:
        callback = Recorder()
        callback.model = SimpleNamespace(logger=tracker.logger)  # type: ignore[assignment]
        callback.num_timesteps = 50
        callback._on_step()
        tracker.log(100, {"train/kl": 0.5})
    first, second = read_rows(tmp_path)
    assert (first["env_steps"], first["eval/mean_reward"], first["train/kl"]) == ("50", "12.5", "")
    assert (second["env_steps"], second["rollout/entropy"], second["train/kl"]) == ("100", "0.5", "0.5")


def test_the_console_shows_long_keys_in_full(tmp_path, capsys):
    with local_tracker(tmp_path, console=True) as tracker:
        tracker.log(
            100, {"train/a_rather_long_name_of_a_metric_one": 1.0, "train/a_rather_long_name_of_a_metric_two": 2}
        )
    printed = capsys.readouterr().out
    assert "a_rather_long_name_of_a_metric_one" in printed
    assert "a_rather_long_name_of_a_metric_two" in printed


@pytest.mark.parametrize("value", ["high", None, np.zeros(2), torch.zeros(2)])
def test_a_metric_that_is_not_one_number_is_refused_by_name(tmp_path, value):
    with local_tracker(tmp_path) as tracker, pytest.raises(TypeError, match="'train/kl'"):
        tracker.log(1, {"train/kl": value})


def test_env_steps_among_the_metrics_must_agree_with_the_row(tmp_path):
    with local_tracker(tmp_path) as tracker:
        tracker.log(100, {"env_steps": 100, "wall_s": 1.5})
        with pytest.raises(ValueError, match="logged at 200"):
            tracker.log(200, {"env_steps": 100})
    assert read_header(tmp_path) == ["env_steps", "wall_s"]


def test_tables_are_kept_in_the_run_folder(tmp_path):
    with local_tracker(tmp_path) as tracker:
        tracker.table("test/final", ["velocity", "return"], [[0.5, -10.0], [1.5, -20.0]])
        with pytest.raises(ValueError, match="row 0 has 1 values"):
            tracker.table("test/final", ["velocity", "return"], [[0.5]])
    assert (tmp_path / "tables" / "test_final.csv").read_text() == "velocity,return\n0.5,-10.0\n1.5,-20.0\n"


def test_missing_images_and_folders_are_named(tmp_path):
    with local_tracker(tmp_path) as tracker:
        with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
            tracker.image("plots/curve", tmp_path / "nowhere.png", 1)
        with pytest.raises(NotADirectoryError, match="nowhere"):
            tracker.artifact(tmp_path / "nowhere", "checkpoint", "model")


def test_closing_twice_is_closing_once(tmp_path):
    tracker = local_tracker(tmp_path, tensorboard=True)
    tracker.close()
    tracker.close()


def scalars(run_dir: Path, key: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(key)]


def test_tensorboard_has_environment_steps_as_its_axis_and_shows_images(tmp_path):
    Image.new("RGB", (6, 4), "red").save(tmp_path / "curve.png")
    with local_tracker(tmp_path, tensorboard=True) as tracker:
        tracker.log(1000, {"test/score": -5.0, "gradient_steps": 3})
        tracker.log(2000, {"test/score": -2.5, "gradient_steps": 6})
        tracker.image("plots/curve", tmp_path / "curve.png", 2000)
    assert scalars(tmp_path, "test/score") == [(1000, -5.0), (2000, -2.5)]
    (image,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("plots/curve")
    assert (image.step, image.width, image.height) == (2000, 6, 4)


def test_tensorboard_hides_what_was_logged_after_the_checkpoint_of_a_resumed_run(tmp_path):
    with local_tracker(tmp_path, tensorboard=True) as tracker:
        for env_steps in (100, 200, 300, 400):
            tracker.log(env_steps, {"test/score": 1.0})
    with local_tracker(tmp_path, tensorboard=True, resume_env_steps=200) as tracker:
        tracker.log(350, {"test/score": 2.0})
    assert scalars(tmp_path, "test/score") == [(100, 1.0), (200, 1.0), (350, 2.0)]


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
        resolve_wandb_mode("of", {}, no_key)  # type: ignore[arg-type]
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
    with local_tracker(run_dir, wandb_mode="offline") as tracker:
        assert tracker.wandb_mode == "offline"
        tracker.log(1000, {"test/score": -5.0, "train/kl": math.nan})
        tracker.logger.record("hparam", HParam({"optimizer": "Adam"}, {"test/score": 0.0}), exclude=("csv",))
        tracker.log(2000, {"test/score": -2.5})
        tracker.image("plots/curve", run_dir / "curve.png", 2000)
        tracker.table("test/final", ["velocity", "return"], [[0.5, -10.0], [1.5, -20.0]])
        tracker.artifact(run_dir / "checkpoint", "cheetah vel/0", "model")
        first = tracker.sync_command
    with local_tracker(run_dir, wandb_mode="offline", resume_env_steps=1000) as tracker:
        tracker.log(3000, {"test/score": -1.0})
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


class FakeRun:
    """The part of a W&B run that the writer talks to; it fails once `alive` is False."""

    offline, dir, id = True, "/runs/mine/wandb/offline-run-1/files", "abc"

    def __init__(self) -> None:
        self.alive = True
        self.exit_codes: list[int] = []

    def define_metric(self, *_: Any, **__: Any) -> None: ...

    def log(self, _: dict[str, Any]) -> None:
        if not self.alive:
            raise ConnectionResetError("Connection lost")

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


def test_a_wandb_process_that_dies_costs_one_warning_and_no_training(tmp_path, capsys):
    run = FakeRun()
    writer = WandbWriter(run, tmp_path)  # type: ignore[arg-type]
    run.alive = False
    for step in range(3):
        writer.write({"test/score": 1.0}, {"test/score": ("",)}, step=step)
    writer.close()
    (warning,) = capsys.readouterr().err.splitlines()
    assert "ConnectionResetError" in warning
    assert "wandb sync" in warning


def test_a_run_that_raises_ends_as_failed(tmp_path, monkeypatch):
    run = FakeRun()
    monkeypatch.setattr("pearl.tracking.start_wandb", lambda run_dir, **_: WandbWriter(run, run_dir))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt), local_tracker(tmp_path):
        raise KeyboardInterrupt
    assert run.exit_codes == [1]


START_WITHOUT_NETWORK = """
import json, pathlib, sys, time
import pearl.tracking
run_dir = pathlib.Path(sys.argv[1])
facts = {"imported by pearl.tracking": "wandb" in sys.modules}
with pearl.tracking.Tracker(run_dir / "none", config={}, name="a run", wandb_mode="disabled", console=False) as tracker:
    tracker.log(1, {"test/score": 1.0})
facts["imported where disabled"] = "wandb" in sys.modules
start = time.monotonic()
with pearl.tracking.Tracker(run_dir / "key", config={"seed": 0}, name="a run", console=False) as tracker:
    facts["seconds"] = time.monotonic() - start
    tracker.log(1, {"test/score": 1.0})
    facts.update(mode=tracker.wandb_mode, sync_command=tracker.sync_command)
print(json.dumps(facts))
"""


def start_without_network(run_dir: Path, cwd: Path, port: int) -> SimpleNamespace:
    """What a fresh process finds when it starts with an API key and this port in the place of W&B's server."""
    process = subprocess.run(
        [sys.executable, "-c", START_WITHOUT_NETWORK, str(run_dir)],
        cwd=cwd,
        env={
            **clean_environment(),
            "PYTHONPATH": str(REPOSITORY),
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
    assert not unreachable.facts["imported by pearl.tracking"]
    assert not unreachable.facts["imported where disabled"]


def test_a_key_without_network_starts_offline_within_15_seconds(unreachable):
    assert unreachable.facts["seconds"] < 15
    assert unreachable.facts["mode"] == "offline"


def test_a_key_without_network_prints_one_line_that_says_how_to_sync(unreachable):
    (warning,) = unreachable.stderr
    assert "out of reach" in warning
    assert unreachable.facts["sync_command"] in warning
    (log,) = Path(unreachable.facts["sync_command"].split()[-1]).glob("*.wandb")
    assert log.name == f"run-{unreachable.run_id}.wandb"


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up_within_15_seconds(tmp_path, empty_working_directory, silent_port):
    start = start_without_network(tmp_path / "run", empty_working_directory, silent_port)
    assert wandb_writer.START_BUDGET_S - 1 < start.facts["seconds"] < 15
    assert start.facts["mode"] == "offline"
    (warning,) = start.stderr
    assert f"wandb sync --id {start.run_id} " in warning


def test_a_start_that_fails_online_goes_on_offline_and_syncs_to_the_same_run(tmp_path, monkeypatch, capsys):
    start = wandb_writer._init

    def fail_online(run_dir: Path, config: Any, name: str, mode: Any, run_id: str | None, timeout_s: float) -> Any:
        if mode == "online":
            raise TimeoutError("no answer\nwithin 10 s")
        return start(run_dir, config, name, mode, run_id, timeout_s)

    monkeypatch.setattr(wandb_writer, "_init", fail_online)
    monkeypatch.setattr(wandb_writer, "_why_not_online", lambda: "")
    with local_tracker(tmp_path, wandb_mode="online") as tracker:
        assert tracker.wandb_mode == "offline"
    (warning,) = capsys.readouterr().err.splitlines()
    assert "TimeoutError: no answer" in warning
    assert f"wandb sync --id {(tmp_path / 'wandb_id.txt').read_text().strip()} " in warning


def test_online_without_a_key_does_not_ask_but_starts_offline(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb_writer, "has_wandb_key", no_key)
    with local_tracker(tmp_path, wandb_mode="online") as tracker:
        assert tracker.wandb_mode == "offline"
    (warning,) = capsys.readouterr().err.splitlines()
    assert "wandb login" in warning
    assert "wandb sync" in warning
