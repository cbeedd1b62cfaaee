"""A run folder: what it holds, when it is refused, and that a run stopped and resumed equals one that was not."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from pearl import CheckpointError
from pearl.checkpoint.store import has_checkpoint
from pearl.runs.run import Run, RunError, differences, output_folder, read_json, read_progress, resume, write_json
from pearl.tasks import make
from tests.support import small
from tests.support.runs.run_folders import INTERVAL, go_on, model_of, rows, run_in, steps_of, stop_at
from tests.support.small import Counting, everything_learnt

pytestmark = pytest.mark.usefixtures("quickly")
draw = Run.draw  # which the fixture replaces


class Killed(BaseException):
    """What no code catches, as nothing catches kill -9."""


def killed():
    raise Killed


def test_a_run_folder_holds_settings_tasks_progress_checkpoint_and_result(whole):
    assert small.files_of(whole.folder) == {
        "checkpoint",
        "config.json",
        "progress.csv",
        "result.json",
        "tables",
        "tasks.json",
        "tensorboard",
    }
    config = json.loads((whole.folder / "config.json").read_text())
    assert (config["family"], config["seed"]) == ("Counting", 0)
    assert config["evaluation"]["interval"] == INTERVAL
    assert config["versions"]["torch"] == torch.__version__


def test_the_tasks_of_a_run_are_the_models_and_training_never_saw_the_test_tasks(whole):
    tasks = json.loads((whole.folder / "tasks.json").read_text())
    assert tasks["train"] == [task.to_json() for task in whole.model.train_tasks]
    assert tasks["test"] == [task.to_json() for task in whole.model.test_tasks]
    assert not [task for task in tasks["test"] if task in tasks["train"]]


def test_progress_has_a_row_per_evaluation(whole):
    # 16 random steps, then iterations of 32: the first at or past each multiple of the interval.
    assert steps_of(whole.folder) == [0, 48, 80, 112, 144, 176]


def test_the_result_is_of_the_evaluation_at_the_end(whole):
    result = json.loads((whole.folder / "result.json").read_text())
    last = rows(whole.folder)[-1]
    assert result["env_steps"] == whole.model.num_timesteps == 176
    assert result["gradient_steps"] == float(last["gradient_steps"]) > 0
    assert result["test"]["return_per_episode"] == [float(last[f"test/return_ep{number}"]) for number in (1, 2)]
    assert (result["test"]["score"], result["test"]["score_ci95"]) == (None, None)
    assert result["test"]["n_tasks"] == 3


def test_test_returns_by_task_are_in_a_table(whole):
    with (whole.folder / "tables" / "test_tasks.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["task"] for row in table] == [str(task) for task in whole.model.test_tasks]
    result = json.loads((whole.folder / "result.json").read_text())
    means = [np.mean([float(row[f"return_ep{number}"]) for row in table]) for number in (1, 2)]
    assert np.allclose(means, result["test"]["return_per_episode"])


def test_a_family_without_plane_and_score_has_its_pictures_too(whole, tmp_path):
    model = whole.model
    run = run_in(tmp_path, model)
    (tmp_path / "progress.csv").write_bytes((whole.folder / "progress.csv").read_bytes())
    paths = draw(run, model.evaluate())
    assert [path.name for path in paths] == [
        "learning_curve.png",
        "return_by_episode.png",
        "posterior_means.png",
        "posterior_spread.png",
    ]
    assert all(path.stat().st_size > 5_000 for path in paths)


@pytest.mark.parametrize("stop", [0, 1, 48, 112, 144])
def test_a_run_stopped_and_resumed_equals_one_that_was_not(whole, tmp_path, stop):
    stopped = stop_at(run_in(tmp_path), stop)
    assert not (tmp_path / "result.json").exists()
    resumed = go_on(tmp_path)
    assert resumed.model.num_timesteps == stopped.model.num_timesteps < 160
    resumed.train()
    assert small.differences(everything_learnt(whole.model), everything_learnt(resumed.model)) == []
    assert rows(tmp_path) == rows(whole.folder)
    assert (tmp_path / "result.json").exists()


def test_a_run_killed_after_logging_and_before_its_checkpoint_redoes_that_evaluation(whole, tmp_path):
    run = run_in(tmp_path)
    run.save = lambda: killed() if run.model.num_timesteps >= 112 else Run.save(run)
    with pytest.raises(Killed):
        run.train()
    assert steps_of(tmp_path) == [0, 48, 80, 112]
    resumed = go_on(tmp_path)
    assert steps_of(tmp_path) == [0, 48, 80], "the row that no checkpoint covers was kept"
    resumed.train()
    assert rows(tmp_path) == rows(whole.folder)
    assert small.differences(everything_learnt(whole.model), everything_learnt(resumed.model)) == []


def test_a_run_killed_between_its_last_checkpoint_and_its_result_gets_its_result(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        run = run_in(tmp_path)
        patch.setattr("pearl.runs.run.write_json", lambda path, data: None)
        run.train()
    go_on(tmp_path).train()
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (whole.folder, tmp_path))
    assert {**one, "wall_s": 0} == {**other, "wall_s": 0}
    assert rows(tmp_path) == rows(whole.folder)


def test_resuming_a_run_that_is_through_changes_nothing(tmp_path):
    run = run_in(tmp_path)
    run.train()
    before, progress = everything_learnt(run.model), (tmp_path / "progress.csv").read_bytes()
    result = json.loads((tmp_path / "result.json").read_text())
    go_on(tmp_path).train()
    assert small.differences(before, everything_learnt(resume(tmp_path, distribution=Counting()))) == []
    assert (tmp_path / "progress.csv").read_bytes() == progress
    after = json.loads((tmp_path / "result.json").read_text())
    assert {**after, "wall_s": 0} == {**result, "wall_s": 0}


def test_a_run_that_is_through_goes_on_to_a_larger_total(tmp_path):
    run_in(tmp_path).train()
    config = model_of(training={"total_steps": 240}).config
    run = go_on(tmp_path, config=config, seed=0)
    run.train()
    assert run.model.num_timesteps == 240
    assert steps_of(tmp_path) == [0, 48, 80, 112, 144, 176, 208, 240]
    assert json.loads((tmp_path / "result.json").read_text())["env_steps"] == 240
    assert json.loads((tmp_path / "config.json").read_text())["training"]["total_steps"] == 240
    assert resume(tmp_path, distribution=Counting()).config == config


def test_a_callback_that_ends_training_leaves_a_run_to_resume(tmp_path):
    run = run_in(tmp_path)
    assert run.train(callback=lambda local, _: local["self"].num_timesteps < 60) is None
    assert run.model.num_timesteps < 160
    go_on(tmp_path).train()
    assert steps_of(tmp_path)[-1] >= 160
    assert len(set(steps_of(tmp_path))) == len(steps_of(tmp_path))


def test_callbacks_of_stable_baselines3_run_along(tmp_path):
    run = run_in(tmp_path)
    callback = StopTrainingOnMaxEpisodes(max_episodes=4)
    assert run.train(callback=[callback]) is None
    assert callback.n_episodes >= 4


def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is(whole):
    before = {path: path.read_bytes() for path in whole.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"already holds a run.*--resume.*--run-dir"):
        run_in(whole.folder, model_of())
    assert {path: path.read_bytes() for path in whole.folder.rglob("*") if path.is_file()} == before


def test_a_record_without_its_checkpoint_is_refused_too(whole, tmp_path):
    (tmp_path / "progress.csv").write_bytes((whole.folder / "progress.csv").read_bytes())
    with pytest.raises(RunError, match=r"a run's progress\.csv without its checkpoint.*--run-dir"):
        run_in(tmp_path)
    assert steps_of(tmp_path) == steps_of(whole.folder)


@pytest.mark.parametrize("text", ["epoch,loss\n1,0.5\n", "epoch,note\n1,good\n", "env_steps,loss\n0\n100\n"])
def test_somebody_elses_progress_file_is_refused_and_left_as_it_is(tmp_path, text):
    (tmp_path / "progress.csv").write_text(text)
    with pytest.raises(RunError, match=r"a run's progress\.csv without"):
        run_in(tmp_path)
    assert (tmp_path / "progress.csv").read_text() == text
    assert small.files_of(tmp_path) == {"progress.csv"}


def test_a_run_killed_before_its_first_checkpoint_can_be_started_anew(whole, tmp_path):
    run = run_in(tmp_path)
    run.save = killed
    with pytest.raises(Killed):
        run.train()
    assert steps_of(tmp_path) == [0]
    assert not has_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(RunError, match=r"no checkpoint to resume from.*without --resume"):
        resume(tmp_path)
    run_in(tmp_path).train()
    assert rows(tmp_path) == rows(whole.folder)


def test_a_run_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(RunError, match=r"Cannot write the run folder .*taken.*--run-dir"):
        run_in(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_resuming_where_there_is_nothing_says_so(tmp_path):
    with pytest.raises(RunError, match=r"holds no checkpoint to resume from"):
        resume(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"seed": 1}, r"has seed 0, not 1.*--seed 0"),
        (
            {"config": model_of(agent={"discount": 0.5}, evaluation={"interval": 7}).config},
            r"only --total-steps and --training\.device may differ\. "
            r".*agent\.discount: 0\.9, now 0\.5; evaluation\.interval: 32, now 7",
        ),
    ],
)
def test_resuming_as_another_run_names_what_differs(whole, expected, message):
    with pytest.raises(RunError, match=message):
        resume(whole.folder, distribution=Counting(), **expected)


def test_a_run_goes_on_with_the_settings_that_it_was_given_whatever_followed_from_the_episodes_length(whole):
    config = model_of().config
    unset = replace(config, agent=replace(config.agent, discount=None))
    assert resume(whole.folder, config=unset, distribution=Counting()).config == config


def test_resuming_another_family_names_both(whole):
    with pytest.raises(CheckpointError, match=r"family 'Counting', not 'point-robot'"):
        resume(whole.folder, distribution=make("point-robot"))


def test_differences_are_named_by_their_dotted_path():
    old = {"a": 1, "inner": {"b": [1, 2], "c": None}}
    assert differences(old, old) == []
    assert differences(old, {"a": 2, "inner": {"b": [1, 3], "c": 0.5}}) == [
        "a: 1, now 2",
        "inner.b: [1, 2], now [1, 3]",
        "inner.c: None, now 0.5",
    ]


def test_what_is_made_of_an_agent_goes_to_its_run_folder_but_never_into_a_bare_checkpoint(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole.model.save(tmp_path / "pretrained" / "mine")
    assert output_folder(whole.folder, None) == whole.folder
    assert output_folder(Path("pretrained/mine"), None) == Path("runs/mine")
    assert output_folder(Path("pretrained/mine"), Path("elsewhere")) == Path("elsewhere")


def test_progress_reads_back_as_columns_with_nan_where_a_row_has_no_value(tmp_path):
    (tmp_path / "progress.csv").write_text("env_steps,test/score,train/kl\n0,0.5,\n100,0.25,2\n")
    columns = read_progress(tmp_path)
    assert columns["env_steps"].tolist() == [0, 100]
    assert columns["test/score"].tolist() == [0.5, 0.25]
    assert np.isnan(columns["train/kl"][0])
    assert columns["train/kl"][1] == 2


def test_json_that_cannot_be_written_leaves_the_older_file(tmp_path):
    write_json(tmp_path / "made" / "result.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "made" / "result.json", {"a": float("nan")})
    assert json.loads((tmp_path / "made" / "result.json").read_text()) == {"a": 1}
    assert small.files_of(tmp_path / "made") == {"result.json"}


def test_json_that_was_written_is_read(tmp_path):
    write_json(tmp_path / "result.json", {"a": 1})
    assert read_json(tmp_path / "result.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"{", "Expecting"), (b"\xff", "decode"), (b"[]", "JSON object.*list")],
)
def test_what_is_no_json_object_is_named(tmp_path, content, said):
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(RunError, match=f"result.json.*{said}"):
        read_json(tmp_path / "result.json")
