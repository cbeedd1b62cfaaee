"""The evaluation script: new tasks, the same protocol, figures and pictures."""

import json

import evaluate
import numpy as np
import pytest
from PIL import Image

import pearl
from tests.support.processes import ROOT
from tests.support.runs.script_runs import contents, script_of


@pytest.fixture
def script(capsys):
    return script_of(evaluate.main, capsys)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(evaluate, "draw_evaluation", lambda *_: [])


def report(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_run_is_evaluated_on_its_own_test_tasks_as_at_its_end(script, finished, copied):
    code, printed = script(copied)
    assert code == 0
    found, result = report(copied), json.loads((finished.folder / "result.json").read_text())
    assert found["test"] == result["test"]
    assert (found["family"], found["env_steps"]) == ("point-robot", result["env_steps"])
    assert [entry["task"] for entry in found["tasks"]] == json.loads((copied / "tasks.json").read_text())["test"]
    assert result["headline"] in printed.splitlines()
    assert "point-robot: 4 held-out tasks" in printed
    named = [line.strip() for line in printed.splitlines() if line.startswith("  ") and "/" in line]
    assert named == [
        str(copied / "evaluation.json"),
        *(
            str(copied / "plots" / f"{name}.png")
            for name in ("return_by_episode", "posterior_means", "posterior_spread", "trajectories")
        ),
    ]
    for path in named[1:]:
        with Image.open(path) as image:
            assert min(image.size) > 400


def test_new_tasks_are_neither_training_nor_test_tasks(script, copied, no_pictures):
    script(copied, "--tasks", 9)
    model, found = pearl.load(copied), report(copied)
    drawn = [pearl.Task(entry["task"]) for entry in found["tasks"]]
    assert len(set(drawn)) == found["test"]["n_tasks"] == 9
    assert not set(drawn) & {*model.train_tasks, *model.test_tasks}


def test_twenty_new_tasks_tell_the_worst_of_them_and_fewer_say_so(script, copied, no_pictures):
    _, printed = script(copied, "--tasks", 20)
    found = report(copied)
    assert found["test"]["cvar_per_episode"] == pytest.approx(np.min([e["returns"] for e in found["tasks"]], axis=0))
    assert f"worst 5 % of tasks {found['test']['cvar_per_episode'][0]:.2f} and " in printed
    _, printed = script(copied)
    assert "4 different tasks are too few, 20 are needed" in " ".join(printed.split())
    assert report(copied)["test"]["cvar_per_episode"] is None


def test_the_same_seed_gives_the_same_evaluation_and_another_one_another(script, copied, no_pictures, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        script(copied, "--tasks", 3, "--seed", seed, "--out", tmp_path / name)
    one, two, three = (report(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["seed"] == 5
    assert [entry["task"] for entry in one["tasks"]] != [entry["task"] for entry in three["tasks"]]
    assert one["test"]["return_per_episode"] != three["test"]["return_per_episode"]


def test_z_may_follow_the_posterior_where_training_did_not(script, copied, no_pictures):
    for name, argv in (("stays", ()), ("follows", ("--z", "follows"))):
        code, _ = script(copied, *argv, "--out", copied / name)
        assert code == 0
        assert report(copied / name)["z_follows_posterior"] == (name == "follows")
    stays, follows = (
        np.array([task["returns"] for task in report(copied / name)["tasks"]]) for name in ("stays", "follows")
    )
    assert (stays[:, 0] != follows[:, 0]).all()


def test_it_is_said_that_z_follows_the_posterior_where_training_did_so_too(script, copied, no_pictures):
    pearl.load(copied, z_follows_posterior=True).save(copied / "checkpoint")
    script(copied)
    assert report(copied)["z_follows_posterior"]


def test_a_kept_z_is_kept_where_training_let_it_follow_or_sweep(script, no_pictures, tmp_path):
    found = {}
    for name in ("as-trained", "kept"):
        code, _ = script(ROOT / "pretrained/sparse-point-robot", "--z", name, "--out", tmp_path / name)
        assert code == 0
        found[name] = report(tmp_path / name)
    assert found["as-trained"]["z_follows_posterior"]
    assert not found["kept"]["z_follows_posterior"]
    first = [each["test"]["return_per_episode"][0] for each in found.values()]
    assert found["as-trained"]["test"]["kept"] == first[1] != first[0]


def test_a_trial_may_be_longer_than_in_training(script, copied, no_pictures):
    code, printed = script(copied, "--episodes", 5)
    assert code == 0
    found = report(copied)
    assert np.array([entry["returns"] for entry in found["tasks"]]).shape == (4, 5)
    assert np.allclose(found["test"]["return_per_episode"], np.mean([e["returns"] for e in found["tasks"]], axis=0))
    assert printed.count("explores") == 2
    assert printed.count("best guess") == 3


def test_a_bare_checkpoint_is_evaluated_without_writing_into_it(script, finished, own_working_directory):
    bare = own_working_directory / "pretrained" / "mine"
    pearl.load(finished.folder).save(bare, training_state=False)
    before = contents(bare)
    code, _ = script("pretrained/mine")
    assert code == 0
    assert contents(bare) == before
    made = own_working_directory / "runs" / "mine"
    assert report(made)["test"] == json.loads((finished.folder / "result.json").read_text())["test"]
    assert len(list((made / "plots").glob("*.png"))) == 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tasks", "0"], "--tasks must be at least 1, got 0"),
        (["--tasks", "-3"], "--tasks must be at least 1, got -3"),
        (["--episodes", "0"], "evaluation.episodes must be at least 1, got 0"),
        (["--episodes", "2"], "evaluation.episodes (2) must exceed evaluation.exploration_episodes (2)"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(script, finished, argv, message):
    before = contents(finished.folder)
    code, printed = script(finished.folder, *argv)
    assert code == 2
    assert message in printed
    assert contents(finished.folder) == before


def test_an_output_folder_that_cannot_be_made_is_named(script, finished, tmp_path):
    (tmp_path / "taken").write_text("mine")
    code, printed = script(finished.folder, "--out", tmp_path / "taken")
    assert code == 2
    assert str(tmp_path / "taken") in printed


def test_a_folder_without_checkpoint_is_named(script, tmp_path):
    code, printed = script(tmp_path / "nowhere")
    assert code == 2
    assert "nowhere does not exist" in printed


def test_a_strangers_run_is_evaluated_and_no_link_in_it_written_through(script, copied, tmp_path, no_pictures):
    (tmp_path / "private").write_text("mine")
    for name in ("evaluation.json", "evaluation.json.partial"):
        (copied / name).symlink_to(tmp_path / "private")
    code, _ = script(copied)
    assert code == 0
    assert report(copied)["family"] == "point-robot"
    assert not (copied / "evaluation.json").is_symlink()
    assert (tmp_path / "private").read_text() == "mine"


def test_an_evaluation_whose_pictures_fail_is_written_and_ends_well(script, copied, monkeypatch):
    def raising(*_, **__):
        raise ValueError("a font is missing")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", raising)
    (copied / "evaluation.json").unlink(missing_ok=True)
    code, printed = script(copied, "--tasks", 2)
    assert code == 0
    assert report(copied)["test"]["n_tasks"] == 2
    assert f"  {copied / 'evaluation.json'}" in printed.splitlines()
    assert ".png" not in printed
