"""The problems on which the defaults are measured: every one passes the check, and none is the same in two tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import unseen
from numpy.typing import NDArray
from pages import with_table
from unseen import worth
from unseen.worth import NAMES

import pearl
from pearl.algorithms import find_algorithm
from pearl.studies.results import RunRecord, Setting, store_run
from pearl.tasks import TaskDistribution, make
from tests.support.processes import ROOT


@pytest.fixture(params=NAMES)
def tasks(request: pytest.FixtureRequest) -> TaskDistribution:
    return make(request.param)


def test_there_are_ten() -> None:
    assert len(NAMES) == 10


def test_the_defaults_train_on_it_as_it_is(tasks: TaskDistribution) -> None:
    pearl.check_task_distribution(tasks, n_tasks=2)


def test_the_same_actions_lead_elsewhere_in_another_task(tasks: TaskDistribution) -> None:
    first, second = tasks.sample(2, np.random.default_rng(0))
    if "action_sign" in first.params:
        second = pearl.Task({**first.to_json(), "action_sign": -first.params["action_sign"]})
    assert played(tasks, first).tolist() == played(tasks, first).tolist()
    assert played(tasks, first).tolist() != played(tasks, second).tolist()


def played(tasks: TaskDistribution, task: pearl.Task) -> NDArray[np.float64]:
    """Return observations and rewards of 300 steps of actions that do not depend on the task."""
    env = tasks.make_env(task)
    env.action_space.seed(0)
    env.reset(seed=0)
    rows = []
    for _ in range(300):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rows.append(np.append(np.ravel(observation), float(reward)))
        if terminated or truncated:
            env.reset()
    return np.array(rows, np.float64)


def test_z_is_worth_its_share_of_what_observing_the_task_is_worth(tmp_path: Path) -> None:
    assert len(unseen.PROBLEMS) == 8
    returns = {"multitask_sac": -50.0, "pearl": -20.0, "oracle_sac": -10.0}
    for algorithm, last in returns.items():
        store(tmp_path, Setting("comparison", "plain", algorithm), last)
    assert worth.table(tmp_path).splitlines()[2:] == ["| inventory (1) | −50 | – | – | −20 | −10 | – | – | 0.75 |"]
    store(tmp_path, Setting("kept-z", "kept-z", "pearl"), -30.0)
    store(tmp_path, Setting("kept-z", "always-follows", "pearl"), -40.0)
    assert worth.table(tmp_path).splitlines()[2:] == [
        "| inventory (1) | −50 | −30 | −40 | −20 | −10 | 0.5 | 0.25 | 0.75 |"
    ]


def store(folder: Path, setting: Setting, last: float) -> None:
    record = RunRecord(
        commit="0" * 40,
        config={},
        curve={"env_steps": np.array([0.0])},
        measured={"returns": [[-60.0, last - 1.0], [-60.0, last + 1.0]]},
    )
    config: Any = find_algorithm(setting.algorithm).config
    store_run(folder / "inventory", setting, config(), 0, record)


def test_the_page_shows_the_table_of_the_stored_runs() -> None:
    page = (ROOT / "docs" / "one-setting.md").read_text()
    assert with_table(page, "unseen", worth.table(ROOT / "results" / "unseen")) == page
