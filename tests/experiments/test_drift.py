"""The drift script: figures of every kind of session, and a table in a page."""

import json

import drift
import gymnasium as gym
import numpy as np
import pytest

from pearl.adaptation import fitting
from tests.support.runs.script_runs import script_of
from tests.support.small import Counting, small_model


@pytest.fixture
def agent(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "STEPS", 100)
    monkeypatch.setattr(fitting, "GRADIENT_STEPS", 3)
    model = small_model("point-robot")
    model.fit_change_detector(seed=0)
    model.save(tmp_path / "agent", training_state=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "agent"


def test_each_kind_of_session_has_figures_and_a_column(agent, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- drift -->\n\n<!-- / -->\nAfter\n")
    code, printed = script_of(drift.main, capsys)(
        agent, "--steps", "8", "--switches", "2", "--tasks", "3", "--page", page
    )
    assert code == 0
    found = json.loads((tmp_path / "results" / "point-robot" / "drift.json").read_text())
    assert (found["steps"], found["switches"], found["tasks"]) == (8, 2, 3)
    drifting = found["drifting"]
    assert list(drifting) == [
        "follows",
        "z kept",
        *(f"forgetting {x}" for x in (0.99, 0.97, 0.95, 0.9)),
        "detects",
        "told",
    ]
    assert all(len(figures["segment_returns"]) == 3 for figures in drifting.values())
    assert drifting["told"]["regret"] == 0
    assert drifting["told"]["segment_returns"][0] == pytest.approx(drifting["follows"]["segment_returns"][0])
    assert 0 <= drifting["detects"]["noticed_soon"] <= drifting["detects"]["noticed"] <= 1
    assert found["still"]["returns"].keys() == {"follows", "detects"}
    header, rule, row = printed.strip().splitlines()
    assert page.read_text() == f"Before\n<!-- drift -->\n\n{header}\n{rule}\n{row}\n\n<!-- / -->\nAfter\n"
    assert header.count("|") == rule.count("|") == row.count("|")


def test_an_agent_without_a_belief_is_refused(agent, tmp_path, capsys):
    import pearl

    pearl.MetaLearner("point-robot", pearl.RL2Config()).save(tmp_path / "rl2", training_state=False)
    code, printed = script_of(drift.main, capsys)(tmp_path / "rl2")
    assert code == 2
    assert "holds a rl2 agent; only PEARL has a belief" in printed


class Ending(gym.Wrapper):
    """Has a time limit of its own, without a ``TimeLimit``."""

    max_episode_steps = 4


class Endings(Counting):
    def make_env(self, task, *, render_mode=None):
        return Ending(super().make_env(task, render_mode=render_mode).unwrapped)


def test_environments_without_a_time_limit_to_lengthen_are_named():
    longer = drift.Lengthened(Endings(), 30)
    with pytest.raises(ValueError, match=r"The environments of '.*' end their episodes themselves.*TimeLimit"):
        longer.make_env(longer.sample(1, np.random.default_rng(0))[0])


def test_an_encoder_that_cannot_forget_is_measured_without(agent, tmp_path, capsys):
    model = small_model("point-robot", encoder={"kind": "gru"})
    model.fit_change_detector(seed=0)
    model.save(tmp_path / "gru", training_state=False)
    run = script_of(drift.main, capsys)
    code, _ = run(tmp_path / "gru", "--steps", "5", "--switches", "1", "--tasks", "2")
    assert code == 0
    drifting = json.loads((tmp_path / "results" / "point-robot" / "drift.json").read_text())["drifting"]
    assert list(drifting) == ["follows", "z kept", "detects", "told"]
    code, printed = run(agent, tmp_path / "gru", "--steps", "5", "--switches", "1", "--tasks", "2")
    assert code == 2
    assert "is a second agent of point-robot" in printed
