"""The examples that measure what an agent knows: unfamiliarity of tasks, and coverage of intervals."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import train

import pearl
from tests.support.runs.script_runs import script_of

EXAMPLES = Path(train.__file__).parent / "examples"
PRETRAINED = Path(__file__).parents[2] / "pretrained"


@pytest.fixture
def example(monkeypatch, tmp_path, one_thread):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module
    for name in ("unfamiliar", "coverage"):
        sys.modules.pop(name, None)


@pytest.fixture
def unfamiliar(example):
    return example("unfamiliar")


def test_masses_that_were_not_trained_are_told_from_those_that_were(unfamiliar, tmp_path, capsys):
    code, printed = script_of(unfamiliar.main, capsys)(
        PRETRAINED / "varying-pendulum",
        *("--parameter", "m", "--low", "4", "--high", "5", "--steps", "40", "--tasks", "12"),
    )
    assert code == 0
    found = json.loads((tmp_path / "results" / "varying-pendulum" / "unfamiliarity.json").read_text())
    other, familiar = (np.array(found[kind]["unfamiliarity"]) for kind in ("other", "familiar"))
    assert other.mean() > 0.9 > familiar.mean()
    assert found["roc_area"] > 0.9
    assert f"area under the ROC curve: {found['roc_area']:.3f}" in printed


def test_a_parameter_that_tasks_lack_is_named(unfamiliar, capsys):
    run = script_of(unfamiliar.main, capsys)
    code, printed = run(PRETRAINED / "varying-pendulum", "--parameter", "weight", "--low", "4", "--high", "5")
    assert code == 2
    assert "--parameter must name a number of the tasks, such as" in printed


def test_agents_without_a_belief_or_without_familiar_tasks_are_refused(unfamiliar, capsys, tmp_path):
    run = script_of(unfamiliar.main, capsys)
    pearl.MetaLearner("varying-pendulum", pearl.RL2Config()).save(tmp_path / "rl2", training_state=False)
    pearl.PEARL("varying-pendulum").save(tmp_path / "new", training_state=False)
    for name, message in (("rl2", "only PEARL has a belief"), ("new", "not learnt which tasks are familiar")):
        code, printed = run(tmp_path / name, "--parameter", "m", "--low", "4", "--high", "5", "--steps", "2")
        assert code == 2
        assert message in printed


def test_separation_is_a_half_for_equal_and_1_for_apart(unfamiliar):
    assert unfamiliar.separation(np.array([0.1, 0.3]), np.array([0.1, 0.3])) == 0.5
    assert unfamiliar.separation(np.array([0.1, 0.3]), np.array([0.4, 0.5])) == 1.0


def test_intervals_hold_about_as_often_as_they_say(example, tmp_path, capsys):
    code, printed = script_of(example("coverage").main, capsys)(PRETRAINED / "point-robot", "--tasks", "30")
    assert code == 0
    found = json.loads((tmp_path / "results" / "point-robot" / "coverage.json").read_text())["coverage_by_dimension"]
    for level in (0.5, 0.9):
        shares = found["calibrated"][str(level)]
        assert np.mean(shares) == pytest.approx(level, abs=0.12)
        assert min(shares) > level - 0.2
    assert f"point-robot, own spread: {np.mean(found['own spread']['0.5']):.0%} (" in printed


def test_intervals_of_agents_without_a_belief_are_refused(example, tmp_path, capsys):
    pearl.MetaLearner("varying-pendulum", pearl.RL2Config()).save(tmp_path / "rl2", training_state=False)
    code, printed = script_of(example("coverage").main, capsys)(tmp_path / "rl2")
    assert code == 2
    assert "only PEARL has a belief" in printed
