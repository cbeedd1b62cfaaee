"""Published results are of held-out tasks, and say how they came about."""

import json
from pathlib import Path

import pytest

from pearl.config.migration import migrated_settings
from pearl.config.reading import from_mapping
from pearl.config.run import PEARLConfig
from pearl.tasks import Task, make
from tests.support.processes import ROOT

RESULTS = ROOT / "results"
RUNS = sorted(path.parent for path in RESULTS.glob("*/*seed*/tasks.json"))


def read(path: Path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}/{run.name}")
def test_no_test_task_reached_training(run):
    tasks = read(run / "tasks.json")
    train, test = ([Task(params) for params in tasks[part]] for part in ("train", "test"))
    config = read(run / "config.json")
    assert len(train) == config["training"]["n_train_tasks"]
    assert len(test) == config["evaluation"]["n_test_tasks"]
    if make(run.parent.name).same_tasks:
        assert set(train) == set(test)
        assert read(run / "result.json")["test"]["same_tasks"]
    else:
        assert not set(train) & set(test)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}/{run.name}")
def test_no_number_of_a_held_out_task_occurs_in_training(run):
    if make(run.parent.name).same_tasks:
        pytest.skip("this family's test tasks are its training tasks")
    tasks = read(run / "tasks.json")
    train, test = ([drawn_numbers(task) for task in tasks[part]] for part in ("train", "test"))
    # What all tasks share is no draw: the object's height on Meta-World's table.
    shared = set.intersection(*train, *test)
    assert all(task - shared for task in test)
    assert not (set.union(*train) & set.union(*test)) - shared


def drawn_numbers(task):
    """The numbers of a task that were drawn from a continuum; a sign of 1 or -1 is in half of them all."""
    numbers = [part for value in task.values() for part in (value if isinstance(value, list) else [value])]
    return {number for number in numbers if isinstance(number, float)}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}/{run.name}")
def test_a_result_names_its_settings_its_seed_and_its_commit(run):
    config, result = read(run / "config.json"), read(run / "result.json")
    assert run.name.endswith(f"seed{config['seed']}")
    assert len(result["commit"].removesuffix("-dirty")) == 40
    settings = {name: config[name] for name in ("encoder", "agent", "training", "evaluation")}
    assert from_mapping(PEARLConfig, migrated_settings(settings)) is not None
    assert result["env_steps"] >= config["training"]["total_steps"]
