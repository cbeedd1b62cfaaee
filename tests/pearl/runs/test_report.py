"""What is shown of an evaluation is what happened in it."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from rich.console import Console

from pearl import PEARL, plots
from pearl.evaluation.protocol import Evaluation, References
from pearl.evaluation.statistics import mean_interval
from pearl.runs.console import TrainingProgress
from pearl.runs.report import (
    draw_adaptation,
    draw_evaluation,
    evaluation_summary,
    evaluation_table,
    headline,
)
from tests.support.small import Counting, small_config, small_model


@pytest.fixture(scope="module")
def point_robot(few_reference_episodes):
    config = small_config(evaluation={"n_test_tasks": 8, "episodes": 3})
    model = PEARL("point-robot", config)
    return model, model.evaluate()


def evaluation_of(returns, oracle, *, exploring=1, successes=None):
    return Evaluation(
        returns=np.asarray(returns, np.float64),
        trajectories=SimpleNamespace(episode_successes=lambda episodes: successes),
        memory=None,
        references=References(random=-20.0, oracle=oracle),
        exploration_episodes=exploring,
        distinct_tasks=len(returns),
    )


SCORED = evaluation_of([[-20, -15], [-10, -5]], oracle=0.0)
UNSCORED = evaluation_of([[-20, -15], [-10, -5]], oracle=None)
OF_TWENTY = evaluation_of([[-30, -25], *[[-10, -5]] * 19], oracle=None)


# Figures in words


def test_the_summary_is_json_and_says_what_the_evaluation_says():
    summary = json.loads(json.dumps(evaluation_summary(SCORED), allow_nan=False))
    assert summary["return_per_episode"] == [-15, -10]
    assert summary["score"] == 0.5
    assert summary["score_ci95"] == [0.25, 0.75]
    assert summary["n_tasks"] == 2
    assert summary["exploration_episodes"] == 1
    assert summary["references"] == {"random": -20, "oracle": 0}


def test_the_summary_without_an_oracle_has_no_score():
    summary = json.loads(json.dumps(evaluation_summary(UNSCORED), allow_nan=False))
    assert (summary["score"], summary["score_ci95"], summary["references"]["oracle"]) == (None, None, None)
    assert summary["return_per_episode"] == [-15, -10]


def test_the_summary_of_an_evaluation_that_was_played_is_json(point_robot):
    _, outcome = point_robot
    summary = json.loads(json.dumps(evaluation_summary(outcome), allow_nan=False))
    assert summary["return_per_episode"] == outcome.returns.mean(0).tolist()
    low, high = summary["score_ci95"]
    assert low <= summary["score"] <= high


def test_the_headline_names_return_and_score_before_and_after_adaptation():
    assert headline(SCORED) == (
        "return -15.00 in episode 1, -10.00 in episode 2, mean of 2 held-out tasks; "
        "score 0.25 before and 0.50 [0.25, 0.75] after adaptation"
    )


def test_the_headline_without_an_oracle_speaks_of_returns_alone():
    assert headline(UNSCORED) == "return -15.00 in episode 1, -10.00 in episode 2, mean of 2 held-out tasks"


def cells(table):
    return list(zip(*(column.cells for column in table.columns), strict=True))


def test_the_table_has_a_row_per_episode_and_one_per_reference():
    low, high = mean_interval(SCORED.returns[:, 1])
    assert cells(evaluation_table(SCORED, "a title")) == [
        ("1", "explores", "-15.00", "-20.00 … -10.00", "0.250"),
        ("2", "best guess", "-10.00", f"{low:.2f} … {high:.2f}", "0.500"),
        ("", "random policy", "-20.00", "", ""),
        ("", "task known", "0.00", "", ""),
    ]


def test_the_return_of_the_worst_tasks_stands_in_the_table_the_summary_and_the_headline():
    table = evaluation_table(OF_TWENTY, "a title")
    assert [column.header for column in table.columns] == [
        *("episode", "acting", "return", "95 % interval", "worst 5 %", "score")
    ]
    assert [(row[2], row[4]) for row in cells(table)] == [("-11.00", "-30.00"), ("-6.00", "-25.00"), ("-20.00", "")]
    assert table.caption is None
    assert evaluation_summary(OF_TWENTY)["cvar_per_episode"] == [-30, -25]
    assert headline(OF_TWENTY) == (
        "return -11.00 in episode 1, -6.00 in episode 2, mean of 20 held-out tasks; "
        "worst 5 % of tasks -30.00 and -25.00"
    )


def test_too_few_tasks_for_the_worst_ones_are_named_with_the_number_that_is_needed():
    table = evaluation_table(SCORED, "a title")
    assert table.caption == "Worst 5 % of tasks: 2 different tasks are too few, 20 are needed."
    assert "worst 5 %" not in [column.header for column in table.columns]
    assert evaluation_summary(SCORED)["cvar_per_episode"] is None


def test_the_printed_and_the_drawn_interval_of_an_evaluation_are_the_same_numbers(tmp_path, monkeypatch):
    returns = np.random.default_rng(0).normal(size=(20, 3)) * 100
    outcome = evaluation_of(returns, oracle=100.0)
    drawn: list[Any] = []
    monkeypatch.setattr(
        Axes, "errorbar", lambda axes, x, middle, half, **look: drawn.extend(zip(middle, half, strict=True))
    )
    plots.return_by_episode(tmp_path / "a.png", outcome.returns, exploration_episodes=1)
    shown = [f"{middle - half:.2f} … {middle + half:.2f}" for middle, half in drawn]
    assert shown == [row[3] for row in cells(evaluation_table(outcome, "a title"))[:3]]
    middle, half = drawn[-1]
    assert outcome.score_ci95 == pytest.approx(outcome.references.score(np.array([middle - half, middle + half])))


@pytest.mark.parametrize(
    ("figures", "shown"), [({"test/cvar": -25.0}, "  worst 5 % -25.00  score"), ({}, "-6.00  score")]
)
def test_the_line_of_an_evaluation_in_training_has_the_worst_tasks_if_they_are_known(figures, shown):
    console = Console(width=80)
    means = {"env_steps": 1000.0, "wall_s": 2.0, "test/return_ep1": -11.0, "test/return_ep2": -6.0, "test/score": 0.5}
    with console.capture() as capture:
        TrainingProgress(console).evaluated(means | figures)
    assert shown in capture.get()


def test_success_rates_take_the_scores_place_in_the_table_and_stand_in_the_summary():
    solved = evaluation_of([[-20, -15], [-10, -5]], oracle=None, successes=np.array([[False, True], [False, False]]))
    table = evaluation_table(solved, "a title")
    assert table.columns[4].header == "success"
    assert [row[4] for row in cells(table)] == ["0%", "50%", ""]
    assert evaluation_summary(solved)["success_per_episode"] == [0.0, 0.5]


def test_the_table_without_an_oracle_has_neither_scores_nor_that_row():
    assert [(row[1], row[4]) for row in cells(evaluation_table(UNSCORED, "a title"))] == [
        ("explores", "–"),
        ("best guess", "–"),
        ("random policy", ""),
    ]


def test_the_table_fits_a_narrow_terminal():
    console = Console(width=80)
    with console.capture() as capture:
        console.print(evaluation_table(SCORED, "point-robot: 2 held-out tasks"))
        console.print(evaluation_table(OF_TWENTY, "point-robot: 20 held-out tasks"))
    lines = capture.get().splitlines()
    assert "-20.00 … -10.00" in capture.get()
    assert max(map(len, lines)) <= 80


# Pictures


def test_a_family_played_in_a_plane_is_drawn_with_its_trajectories(point_robot, tmp_path):
    model, outcome = point_robot
    paths = draw_evaluation(model.agent, model.task_distribution, model.test_tasks, outcome, tmp_path)
    assert [path.name for path in paths] == [
        "return_by_episode.png",
        "posterior_means.png",
        "posterior_spread.png",
        "trajectories.png",
    ]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(1 << 24)) > 50


@pytest.mark.parametrize("family", ["point-robot", None])
def test_an_adaptation_is_drawn_with_and_without_a_plane(family, tmp_path):
    model = PEARL(family or Counting(), small_config())
    task = model.test_tasks[0]
    env = model.task_distribution.make_env(task)
    trial = model.adapt(env, 2, seed=0).trial
    path = draw_adaptation(
        model.agent, model.task_distribution, task, trial, {"random policy": -3.0}, tmp_path / "story.png"
    )
    assert path == tmp_path / "story.png"
    with Image.open(path) as image:
        assert min(image.size) > 300


def test_the_first_episode_with_a_z_that_follows_is_no_further_episode(few_reference_episodes):
    model = small_model("point-robot")
    followed = model.evaluate().figures()
    assert "test/following" not in followed
    assert followed["test/kept"] != followed["test/return_ep1"]
    model.agent.z_moves = False
    figures = model.evaluate().figures()
    assert "test/kept" not in figures
    assert "test/following" in figures
    assert figures["test/return_ep1"] == followed["test/kept"]
    assert [name for name in figures if name.startswith("test/return_ep")] == ["test/return_ep1", "test/return_ep2"]
