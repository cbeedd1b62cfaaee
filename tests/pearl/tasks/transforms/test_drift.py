"""Schedules of drifting tasks, and their form as JSON."""

import json

import numpy as np
import pytest

from pearl import DriftSchedule, Task
from pearl.tasks.transforms.drift import Drift, between

TWO = {"tasks": [{"m": 1.0}, {"m": 3.0}], "switch_steps": [4], "gradual": False}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1, the lower number first, got 0"),
        ({"steps": (5, 3)}, ValueError, r"the lower number first, got \(5, 3\)"),
        ({"steps": (1, 2, 3)}, TypeError, r"such as \(60, 140\), got \(1, 2, 3\)"),
        ({"steps": 2.5}, TypeError, "steps must be a whole number of environment steps, such as 100, .* got 2.5"),
        ({"steps": True}, TypeError, "steps must be a whole number"),
        ({"steps": 5, "switches": 0}, ValueError, "switches must be at least 1, got 0; .* use the distribution itself"),
        ({"steps": 5, "switches": 1.5}, TypeError, "switches must be a whole number of changes .* got 1.5"),
        ({"steps": 5, "gradual": 1}, TypeError, "gradual must be True or False, got 1"),
    ],
)
def test_a_bad_schedule_is_refused_and_the_error_says_what_is_accepted(arguments, error, message):
    with pytest.raises(error, match=message):
        DriftSchedule(**arguments)


def test_a_fixed_schedule_changes_at_multiples_of_its_steps():
    assert DriftSchedule(7, switches=3).draw(np.random.default_rng(0)) == (7, 14, 21)
    assert DriftSchedule(7, switches=3).latest == 21


def test_a_drawn_task_lasts_any_number_of_steps_in_the_range_and_no_other():
    rng = np.random.default_rng(0)
    draws = [DriftSchedule((2, 4), switches=2).draw(rng) for _ in range(100)]
    assert {first for first, _ in draws} == {second - first for first, second in draws} == {2, 3, 4}
    assert max(second for _, second in draws) == DriftSchedule((2, 4), switches=2).latest == 8


def test_numbers_of_numpy_and_lists_are_converted():
    assert DriftSchedule(steps=[np.int64(2), 4], switches=np.int64(2)) == DriftSchedule((2, 4), 2)


@pytest.mark.parametrize("gradual", [False, True])
def test_a_drifting_task_survives_a_json_round_trip(gradual):
    drift = Drift((Task({"goal": [0.5, 1.0]}), Task({"goal": [0.0, 2.0]})), (3,), gradual)
    task = drift.to_task()
    again = Task(json.loads(json.dumps(task.to_json())))
    assert again == task
    assert Drift.of(again) == drift
    assert str(task) == f"tasks=({{goal=(0.5, 1)}}, {{goal=(0, 2)}}), switch_steps=(3), gradual={gradual}"


def test_a_task_begins_at_its_step():
    drift = Drift(tuple(Task({"m": m}) for m in (1.0, 2.0, 3.0)), (2, 5))
    assert [drift.at(step)[0] for step in range(7)] == [0, 0, 1, 1, 1, 2, 2]
    assert all(drift.at(step)[1] is drift.tasks[drift.at(step)[0]] for step in range(7))


def test_in_a_gradual_drift_floats_move_linearly_and_reach_the_next_task_at_its_step():
    drift = Drift(tuple(Task({"m": m}) for m in (1.0, 3.0, 2.0)), (4, 6), gradual=True)
    masses = [drift.at(step)[1].params["m"] for step in range(8)]
    assert masses == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0, 2.5, 2.0, 2.0])
    assert [drift.at(step)[0] for step in range(8)] == [0, 0, 0, 0, 1, 1, 2, 2]


def test_only_floats_lie_between_two_tasks():
    one = Task({"m": 1.0, "n": 1, "sign": 1, "open": True, "env": "push", "goal": [0.0, 1], "arm": {"l": 2.0}})
    other = Task({"m": 3, "n": 2.0, "sign": -1, "open": False, "env": "pick", "goal": [1.0, 3], "arm": {"l": 4.0}})
    halfway = {"m": 2.0, "n": 1.5, "sign": 1, "open": True, "env": "push", "goal": [0.5, 1], "arm": {"l": 3.0}}
    assert between(one, other, 0.5).to_json() == halfway


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": []}, r"tasks must be a list of at least one task's parameters, got \(\)"),
        ({"tasks": [1.0, 2.0]}, "tasks must be a list of at least one task's parameters"),
        ({"switch_steps": [0]}, r"switch_steps must be whole numbers from 1, increasing, got \(0,\)"),
        ({"switch_steps": [2.5]}, "whole numbers from 1"),
        ({"switch_steps": 4}, "whole numbers from 1, increasing, got 4"),
        ({"switch_steps": [3, 4]}, "2 tasks take 1 switch_steps, got"),
        ({"tasks": [{"m": 1.0}] * 3, "switch_steps": [4, 4]}, "increasing"),
        ({"gradual": 1}, "gradual must be true or false, got 1"),
        ({"m": 1.0}, "has the parameters tasks, switch_steps, gradual, got .*m"),
    ],
)
def test_parameters_that_are_no_drifting_tasks_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"A drifting task has the parameters.*{message}|{message}"):
        Drift.of(Task({**TWO, **changed}))
