"""The adaptation script: one task, episode by episode, with a picture and a film."""

from itertools import pairwise
from pathlib import Path

import adapt
import numpy as np
import pytest
from PIL import Image, ImageSequence

import pearl
from tests.support.runs.script_runs import contents, script_of

HORIZON = 20


@pytest.fixture
def script(capsys):
    return script_of(adapt.main, capsys)


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr(adapt, "draw_adaptation", lambda *arguments: arguments[-1])


def table_rows(printed):
    """The cells of the printed table's rows."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line[:1] == "│"]


def test_a_task_of_ones_own_is_adapted_to_and_drawn(script, finished, copied):
    code, printed = script(copied, "--task", "goal=0.3,-0.7")
    assert code == 0
    assert "point-robot: adapting to goal=(0.3, -0.7)" in printed
    rows = table_rows(printed)
    assert [row[:2] for row in rows] == [
        ["1", "explores"],
        ["2", "explores"],
        ["3", "best guess"],
        ["", "random policy"],
        ["", "task known"],
    ]
    model = pearl.load(copied)
    env = model.task_distribution.make_env(pearl.Task({"goal": [0.3, -0.7]}))
    policy = model.adapt(env, 3, exploration_episodes=2, seed=0)
    assert [float(row[2]) for row in rows[:3]] == np.round(policy.trial.episode_returns(3)[0], 2).tolist()
    mean = policy.posterior.mean.numpy()
    assert [float(value) for value in rows[2][3].split()] == [float(f"{value:+.2f}") for value in mean]
    assert float(rows[4][2]) > float(rows[3][2])
    picture = copied / "plots" / "adaptation.png"
    assert f"  {picture}" in printed.splitlines()
    with Image.open(picture) as image:
        assert min(image.size) > 400


def test_without_a_task_the_first_held_out_one_is_taken(script, copied, no_picture):
    code, printed = script(copied, "--out", copied)
    assert code == 0
    assert f"adapting to {pearl.load(copied).test_tasks[0]}" in printed


def test_a_trial_films_every_reset_and_every_step(script, copied, no_picture, tmp_path):
    film = tmp_path / "films" / "trial.gif"
    code, printed = script(copied, "--task", "goal=0.3,-0.7", "--episodes", 2, "--gif", film)
    assert code == 0
    assert f"  {film}" in printed.splitlines()
    assert [row[1] for row in table_rows(printed)[:2]] == ["explores", "best guess"]
    with Image.open(film) as image:
        assert image.n_frames == 2 * (HORIZON + 1)
        assert image.info["loop"] == 0
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert all((one != other).any() for one, other in pairwise(frames))


def test_the_trial_is_the_same_with_and_without_a_film(script, copied, no_picture, tmp_path):
    _, plain = script(copied, "--episodes", 1)
    _, filmed = script(copied, "--episodes", 1, "--gif", tmp_path / "trial.gif")
    assert table_rows(plain) == table_rows(filmed)
    assert [row[1] for row in table_rows(plain)[:2]] == ["explores", "random policy"]


def test_the_seed_decides_the_trial(script, copied, no_picture):
    first, again, other = (table_rows(script(copied, "--episodes", 1, "--seed", seed)[1]) for seed in (3, 3, 4))
    assert first == again
    assert first[0] != other[0]


def test_a_bare_checkpoint_adapts_without_being_written_to(script, finished, own_working_directory):
    bare = own_working_directory / "pretrained" / "mine"
    pearl.load(finished.folder).save(bare, training_state=False)
    before = contents(bare)
    code, _ = script("pretrained/mine", "--task", "goal=0,1")
    assert code == 0
    assert contents(bare) == before
    assert (own_working_directory / "runs" / "mine" / "plots" / "adaptation.png").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--task", "gaol=0.3,-0.7"], "Did you mean 'goal'?"),
        (["--task", "speed=3"], "A task of this family is given as 'goal="),
        (["--task", "goal"], "A task of this family is given as 'goal="),
        (["--task", "goal=0.3"], "A task of this family is given as 'goal="),
        (["--task", "goal=1,2,3"], "A task of this family is given as 'goal="),
        (["--task", "goal=left,right"], "'left' is no number"),
        (["--task", "goal=nan,0"], "must be finite"),
        (["--episodes", "0"], "episodes must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--gif", "film.mp4"], "--gif must name a file that ends in .gif, got film.mp4"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(script, finished, own_working_directory, argv, message):
    before = contents(finished.folder)
    code, printed = script(finished.folder, *argv)
    assert code == 2
    assert message in printed
    assert contents(finished.folder) == before
    assert list(own_working_directory.iterdir()) == []


@pytest.mark.parametrize(("broken", "expected"), [("draw_adaptation", 0), ("plots.animation", 1)])
def test_a_picture_that_fails_is_a_warning_and_a_film_that_was_asked_for_an_error(
    script, copied, no_picture, monkeypatch, tmp_path, broken, expected
):
    def raising(*_, **__):
        raise ValueError("a font is missing")

    monkeypatch.setattr(f"adapt.{broken}", raising)
    code, printed = script(copied, "--gif", tmp_path / "film.gif")
    assert code == expected
    assert len(table_rows(printed)) == 5
    listed = [Path(line).name for line in printed.splitlines() if line.startswith("  /")]
    assert listed == (["film.gif"] if expected == 0 else ["adaptation.png"])
