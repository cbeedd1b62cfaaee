"""The training script: what a run leaves in its folder and shows on the console."""

import csv
import json

import numpy as np
import pytest
import train
from PIL import Image

import pearl
from pearl.config.reading import to_mapping
from pearl.config.run import load_preset
from tests.support.runs.script_runs import SHORT, checkpoints, rows


def test_a_run_leaves_its_settings_tasks_progress_checkpoint_plots_and_result(finished):
    assert finished.code == 0
    assert {path.name for path in finished.folder.iterdir()} == {
        "checkpoint",
        "config.json",
        "plots",
        "progress.csv",
        "result.json",
        "tables",
        "tasks.json",
        "tensorboard",
    }


def test_the_run_used_the_settings_of_the_preset_and_the_flags(finished):
    config = json.loads((finished.folder / "config.json").read_text())
    preset = to_mapping(load_preset("point-robot").for_tasks(20))
    assert config["agent"] == preset["agent"] | {"hidden_sizes": [16]}
    assert config["training"]["total_steps"] == 3000
    assert config["training"]["episodes_per_trial"] == preset["training"]["episodes_per_trial"]
    assert pearl.load(finished.folder).config == train.parse(SHORT)[2].for_tasks(20)


def test_the_tasks_on_disk_are_the_models_and_disjoint(finished):
    tasks = json.loads((finished.folder / "tasks.json").read_text())
    model = pearl.load(finished.folder)
    assert tasks["train"] == [task.to_json() for task in model.train_tasks]
    assert tasks["test"] == [task.to_json() for task in model.test_tasks]
    assert len(tasks["train"]) == len(tasks["test"]) == 4
    assert not [task for task in tasks["test"] if task in tasks["train"]]


def test_progress_has_a_row_per_evaluation_with_counters_returns_and_score(finished):
    with (finished.folder / "progress.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header[:7] == [
        "env_steps",
        "gradient_steps",
        "wall_s",
        "test/return_ep1",
        "test/return_ep2",
        "test/return_ep3",
        "test/score",
    ]
    columns = dict(zip(header, np.array(lines).T, strict=True))
    steps, gradients, seconds = (columns[name].astype(float) for name in header[:3])
    assert steps[0] == 0
    assert 3000 <= steps[-1] < 3240
    assert (np.diff(steps) >= 240).all()
    assert (np.diff(gradients) > 0).all()
    assert (np.diff(seconds) > 0).all()
    assert len(lines) == checkpoints(finished.folder) == 1 + 10


@pytest.mark.parametrize(
    "name", ["learning_curve", "posterior_means", "posterior_spread", "return_by_episode", "trajectories"]
)
def test_every_picture_shows_something(finished, name):
    with Image.open(finished.folder / "plots" / f"{name}.png") as image:
        assert min(image.size) > 400
        colours = image.convert("RGB").getcolors(1 << 24)
        blank = max(count for count, _ in colours) / (image.width * image.height)
    assert len(colours) > 100
    assert 0.1 < blank < 0.99


def test_the_result_holds_the_last_evaluation_and_the_versions(finished):
    result = json.loads((finished.folder / "result.json").read_text())
    last = rows(finished.folder)[-1]
    assert (result["family"], result["seed"], result["env_steps"]) == ("point-robot", 0, int(last["env_steps"]))
    assert result["gradient_steps"] == float(last["gradient_steps"])
    assert result["wall_s"] > 0
    assert result["test"]["n_tasks"] == 4
    assert result["test"]["score"] == float(last["test/score"])
    assert result["test"]["score_ci95"] == [float(last["test/score_low"]), float(last["test/score_high"])]
    returns = [float(last[f"test/return_ep{number}"]) for number in (1, 2, 3)]
    assert result["test"]["return_per_episode"] == returns
    assert f"score {result['test']['score']:.2f}"[6:] in result["headline"]
    assert {"pearl-metarl", "python", "torch", "gymnasium", "numpy"} <= result["versions"].keys()


def test_the_console_shows_each_evaluation_the_table_and_the_headline(finished):
    result = json.loads((finished.folder / "result.json").read_text())
    lines = finished.printed.splitlines()
    evaluations = [line for line in lines if " env steps " in line]
    assert [int(line.split()[0].replace(",", "")) for line in evaluations] == [
        int(row["env_steps"]) for row in rows(finished.folder)
    ]
    assert "point-robot: 4 held-out tasks" in finished.printed
    assert result["headline"] in lines, "the headline was broken into lines"
    assert " before and " in result["headline"]


def test_the_console_names_every_picture_on_a_line_of_its_own(finished):
    named = [line.strip() for line in finished.printed.splitlines() if line.endswith(".png")]
    assert named == [str(path) for path in sorted((finished.folder / "plots").glob("*.png"))]


def test_where_no_terminal_is_there_is_no_bar(finished):
    assert "\x1b" not in finished.printed
    assert "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━" not in finished.printed
    assert finished.printed.splitlines().count("") == 0


def test_wandb_is_not_mentioned_where_it_is_disabled(finished):
    assert "wandb" not in finished.printed.lower()
    assert not (finished.folder / "wandb").exists()
