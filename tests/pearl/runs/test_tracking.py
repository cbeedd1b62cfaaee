"""Tracking: what was logged can be read back from every output; neither a kill nor a missing network costs a run."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import FormatUnsupportedError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from pearl.runs.progress_csv import ProgressCSV, column_order
from tests.support.runs.trackers import (
    local_tracker,
    log_row,
    read_header,
    read_rows,
    tracking,
)

pytestmark = pytest.mark.usefixtures("empty_working_directory")


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
        log_row(tracker, 100 * row, {"test/score": row / 3})
        assert [float(line["test/score"]) for line in read_rows(tmp_path)] == [n / 3 for n in range(1, row + 1)]
    tracker.close()


def test_a_late_value_adds_a_column_and_leaves_earlier_rows_as_they_were(tmp_path):
    with tracking(tmp_path) as tracker:
        log_row(tracker, 100, {"train/kl": 0.5, "gradient_steps": 7})
        log_row(tracker, 200, {"train/kl": 0.25, "gradient_steps": 8, "test/score": -3.0})
        log_row(tracker, 300, {"train/kl": 0.125})
    assert read_header(tmp_path) == ["env_steps", "gradient_steps", "test/score", "train/kl"]
    assert [list(row.values()) for row in read_rows(tmp_path)] == [
        ["100", "7", "", "0.5"],
        ["200", "8", "-3.0", "0.25"],
        ["300", "", "", "0.125"],
    ]


def test_numbers_survive_the_csv_exactly(tmp_path):
    values = {"a": 0.1 + 0.2, "b": np.float32(1e-7), "c": torch.tensor(3.5), "d": math.inf, "e": 2**60}
    with tracking(tmp_path) as tracker:
        log_row(tracker, 1, values)
    (row,) = read_rows(tmp_path)
    assert {key: float(row[key]) for key in values} == {key: float(value) for key, value in values.items()}


def test_nan_is_logged_as_nan_and_the_next_row_still_arrives(tmp_path):
    with tracking(tmp_path, console=True, tensorboard=True) as tracker:
        log_row(tracker, 1, {"train/loss": math.nan})
        log_row(tracker, 2, {"train/loss": 1.0})
    assert [row["train/loss"] for row in read_rows(tmp_path)] == ["nan", "1.0"]


def test_resuming_keeps_the_rows_of_the_checkpoint_and_drops_later_ones(tmp_path):
    with tracking(tmp_path) as tracker:
        for env_steps in (100, 200, 300, 400):
            log_row(tracker, env_steps, {"test/score": env_steps / 10})
    with tracking(tmp_path, resume_env_steps=200) as tracker:
        log_row(tracker, 300, {"test/score": -1.0, "train/kl": 2.0})
    assert [(row["env_steps"], row["test/score"], row["train/kl"]) for row in read_rows(tmp_path)] == [
        ("100", "10.0", ""),
        ("200", "20.0", ""),
        ("300", "-1.0", "2.0"),
    ]


@pytest.mark.parametrize("lost", [1, 2, 5, 8])
def test_resuming_drops_a_last_line_that_was_cut_off_in_writing(tmp_path, lost):
    with tracking(tmp_path) as tracker:
        log_row(tracker, 100, {"test/score": 1.25})
        log_row(tracker, 200, {"test/score": 2.25})
    path = tmp_path / "progress.csv"
    path.write_bytes(path.read_bytes()[:-lost])
    with tracking(tmp_path, resume_env_steps=1000) as tracker:
        log_row(tracker, 300, {"test/score": 3.25})
    assert [row["env_steps"] for row in read_rows(tmp_path)] == ["100", "300"]


def test_resuming_without_a_progress_file_starts_one(tmp_path):
    with tracking(tmp_path, resume_env_steps=500) as tracker:
        log_row(tracker, 600, {"test/score": 1.0})
    assert [row["env_steps"] for row in read_rows(tmp_path)] == ["600"]


def test_resuming_a_damaged_file_names_the_line(tmp_path):
    (tmp_path / "progress.csv").write_text("env_steps,test/score\n100,1.0\n200\n300,3.0\n")
    with pytest.raises(ValueError, match=r"progress\.csv, line 3, does not fit the header: '200'"):
        local_tracker(tmp_path, resume_env_steps=300)


ROWS = b"env_steps,test/score\n100,1.0\n200,2.0\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"holds no row, but the run logged a row at 200 or later"),
        (b"env_steps,test/sc", r"holds no row"),
        (b"env_steps,test/score\n", r"holds no row"),
        (ROWS[:-4], r"ends at 100 environment steps, but .* at 200 or later: lines are lost"),
        (b"\0" * 64, r"is damaged: it holds NUL bytes"),
        (ROWS + b"\0" * 64, r"is damaged: it holds NUL bytes"),
        (ROWS + b"300,\xff\n", r"is damaged: 'utf-8' codec can't decode"),
        (ROWS + b"3" * 5_000 + b",1.0\n", r"line 4, does not fit the header"),
        (ROWS + b"300,nan,\n", r"line 4, does not fit the header"),
        (b"env_steps,x\n300," + b"x" * 200_000 + b"\n", r"is damaged: field larger than"),
    ],
)
def test_resuming_names_a_file_that_lost_rows_or_is_no_table_and_leaves_it(tmp_path, content, message):
    path = tmp_path / "progress.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"progress\.csv,? {message}"):
        ProgressCSV(path, resume_env_steps=250, logged_env_steps=200)
    assert path.read_bytes() == content


def test_a_last_line_that_was_cut_within_a_letter_is_dropped(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_bytes(ROWS + "300,é".encode()[:-1])
    ProgressCSV(path, resume_env_steps=250, logged_env_steps=200).close()
    assert path.read_bytes() == ROWS


def test_rows_go_on_where_the_file_was_deleted_meanwhile(tmp_path):
    with tracking(tmp_path) as tracker:
        log_row(tracker, 100, {"a": 1})
        (tmp_path / "progress.csv").unlink()
        log_row(tracker, 200, {"a": 1, "b": 2})
    assert [row["env_steps"] for row in read_rows(tmp_path)] == ["200"]


def test_a_new_run_refuses_to_overwrite_the_rows_of_another(tmp_path):
    with tracking(tmp_path) as tracker:
        log_row(tracker, 100, {"test/score": 1.0})
    with pytest.raises(FileExistsError, match="resume_env_steps"):
        local_tracker(tmp_path)
    assert len(read_rows(tmp_path)) == 1


def test_a_run_that_logged_nothing_does_not_block_the_next_one(tmp_path):
    local_tracker(tmp_path).close()
    with tracking(tmp_path) as tracker:
        log_row(tracker, 100, {"test/score": 1.0})
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

    with tracking(tmp_path) as tracker:
        callback = Recorder()
        callback.model = SimpleNamespace(logger=tracker.logger)
        callback.num_timesteps = 50
        callback._on_step()
        log_row(tracker, 100, {"train/kl": 0.5})
    first, second = read_rows(tmp_path)
    assert (first["env_steps"], first["eval/mean_reward"], first["train/kl"]) == ("50", "12.5", "")
    assert (second["env_steps"], second["rollout/entropy"], second["train/kl"]) == ("100", "0.5", "0.5")


def test_the_console_shows_long_keys_in_full(tmp_path, capsys):
    with tracking(tmp_path, console=True) as tracker:
        log_row(
            tracker,
            100,
            {"train/a_rather_long_name_of_a_metric_one": 1.0, "train/a_rather_long_name_of_a_metric_two": 2},
        )
    printed = capsys.readouterr().out
    assert "a_rather_long_name_of_a_metric_one" in printed
    assert "a_rather_long_name_of_a_metric_two" in printed


def test_tables_are_kept_in_the_run_folder(tmp_path):
    with tracking(tmp_path) as tracker:
        tracker.table("test/final", ["velocity", "return"], [[0.5, -10.0], [1.5, -20.0]])
        with pytest.raises(ValueError, match="row 0 has 1 values"):
            tracker.table("test/final", ["velocity", "return"], [[0.5]])
    assert (tmp_path / "tables" / "test_final.csv").read_text() == "velocity,return\n0.5,-10.0\n1.5,-20.0\n"


def test_missing_images_and_folders_are_named(tmp_path):
    with tracking(tmp_path) as tracker:
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
    with tracking(tmp_path, tensorboard=True) as tracker:
        log_row(tracker, 1000, {"test/score": -5.0, "gradient_steps": 3})
        log_row(tracker, 2000, {"test/score": -2.5, "gradient_steps": 6})
        tracker.image("plots/curve", tmp_path / "curve.png", 2000)
    assert scalars(tmp_path, "test/score") == [(1000, -5.0), (2000, -2.5)]
    (image,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("plots/curve")
    assert (image.step, image.width, image.height) == (2000, 6, 4)


def test_tensorboard_hides_what_was_logged_after_the_checkpoint_of_a_resumed_run(tmp_path, monkeypatch):
    # File names end in a counter, and "10" sorts before "9".
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(9))
    with tracking(tmp_path, tensorboard=True) as tracker:
        for env_steps in (100, 200, 300, 400):
            log_row(tracker, env_steps, {"test/score": 1.0})
    with tracking(tmp_path, tensorboard=True, resume_env_steps=200) as tracker:
        log_row(tracker, 350, {"test/score": 2.0})
    assert scalars(tmp_path, "test/score") == [(100, 1.0), (200, 1.0), (350, 2.0)]


def test_tensorboard_steps_go_forwards_after_the_clock_was_set_back(tmp_path, monkeypatch):
    for session, seconds in enumerate((2_000_000_000, 2_000_000_900, 1_900_000_000, 1_900_000_000, 1_900_000_001)):
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda seconds=seconds: float(seconds))
            with tracking(tmp_path, tensorboard=True, resume_env_steps=100 * session or None) as tracker:
                for env_steps in (100, 200):
                    log_row(tracker, 100 * session + env_steps, {"test/score": float(session)})
    expected = [(100, 0.0), (200, 1.0), (300, 2.0), (400, 3.0), (500, 4.0), (600, 4.0)]
    assert scalars(tmp_path, "test/score") == expected
    assert len(list((tmp_path / "tensorboard").iterdir())) == 5
