"""A trial counts whole or not at all: after Ctrl-C or an error training goes on as if nothing had happened."""

import os
import signal
from typing import Any

import pytest

import pearl
from pearl import PEARL, NonFiniteError
from pearl.collection.workers import WorkerError
from pearl.model.meta_learner import learner_of
from tests.support.algorithms import CONFIGS
from tests.support.collection.worker_processes import ended, needs_proc
from tests.support.small import (
    INITIAL,
    ITERATION,
    LENGTH,
    Counting,
    differences,
    everything_learnt,
    small_config,
    small_model,
)
from tests.support.twins import twin_model

pytestmark = pytest.mark.usefixtures("one_thread")
UNBROKEN = INITIAL + 3 * ITERATION


class OnceAt:
    """A callback that does something once, at the first step at which the model counts so many."""

    def __init__(self, num_timesteps, action):
        self.num_timesteps, self.action = num_timesteps, action
        self.done = False

    def __call__(self, local, _):
        if not self.done and local["self"].num_timesteps >= self.num_timesteps:
            self.done = True
            self.action(local["self"])
        return True


def raising(error):
    def action(model):
        raise error

    return action


def kept(model):
    return int(model.training.replay.n_added.sum())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("at", [4, INITIAL, INITIAL + 8, INITIAL + ITERATION, INITIAL + ITERATION + 12])
@pytest.mark.parametrize("tasks_per_iteration", [None, 2])
def test_a_trial_that_is_dropped_was_never_begun(error, at, tasks_per_iteration):
    model = small_model(training={"tasks_per_iteration": tasks_per_iteration, "gradient_steps_per_env_step": 0.03})
    unbroken = small_model(training={"tasks_per_iteration": tasks_per_iteration, "gradient_steps_per_env_step": 0.03})
    with pytest.raises(error):
        model.learn(UNBROKEN, callback=OnceAt(at, raising(error)))
    assert model.num_timesteps == kept(model) < at
    model.learn(UNBROKEN - model.num_timesteps)
    assert model.num_timesteps == kept(model)
    assert differences(everything_learnt(unbroken.learn(UNBROKEN)), everything_learnt(model)) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_every_algorithm_goes_on_after_an_interrupt_as_if_there_had_been_none(name):
    model, unbroken = (learner_of(CONFIGS[name])(Counting(), CONFIGS[name]) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        model.learn(160, callback=OnceAt(100, raising(KeyboardInterrupt)))
    assert model.num_timesteps < 100
    model.learn(160 - model.num_timesteps)
    assert differences(everything_learnt(unbroken.learn(160)), everything_learnt(model)) == []


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_trial_with_a_value_that_is_not_finite_is_not_counted(what):
    model = PEARL(Counting(broken=(what, LENGTH + 6, float("nan"))), small_config())
    # The family breaks its largest task, which must be one that training plays.
    model.training.tasks[1] = max(model.train_tasks + model.test_tasks, key=lambda task: task.params["number"])
    unbroken = PEARL(Counting(), small_config())
    unbroken.training.tasks[1] = model.training.tasks[1]
    with pytest.raises(NonFiniteError):
        model.learn(UNBROKEN)
    assert model.num_timesteps == kept(model) == INITIAL
    model.learn(UNBROKEN - INITIAL)
    assert differences(everything_learnt(unbroken.learn(UNBROKEN)), everything_learnt(model)) == []


@needs_proc
@pytest.mark.parametrize("tasks_per_iteration", [None, 2])
def test_a_trial_in_which_a_worker_died_is_not_counted_and_its_workers_are_ended(tasks_per_iteration, monkeypatch):
    sections = {"training": {"workers": 2, "tasks_per_iteration": tasks_per_iteration}}
    model, unbroken = small_model(**sections), small_model(**sections)
    made: list[Any] = []
    make_envs = model.training._make_envs
    monkeypatch.setattr(model.training, "_make_envs", lambda tasks: made.append(make_envs(tasks)) or made[-1])
    begun = everything_learnt(model.learn(INITIAL))

    def kill(model):
        os.kill(made[-1]._workers[0].process.pid, signal.SIGKILL)

    with pytest.raises(WorkerError, match="died"):
        model.learn(ITERATION, callback=OnceAt(INITIAL + 8, kill))
    assert differences(begun, everything_learnt(model)) == []
    model.learn(ITERATION)
    assert model.num_timesteps == kept(model)
    assert differences(everything_learnt(unbroken.learn(INITIAL).learn(ITERATION)), everything_learnt(model)) == []
    model.training.close_envs()
    unbroken.training.close_envs()
    assert ended([])


@needs_proc
@pytest.mark.parametrize("workers", [0, 2])
def test_the_environments_of_a_trial_that_is_dropped_are_closed(workers, monkeypatch):
    model = small_model(training={"workers": workers, "tasks_per_iteration": 2})
    made, make_envs = [], model.training._make_envs
    monkeypatch.setattr(model.training, "_make_envs", lambda tasks: made.append(make_envs(tasks)) or made[-1])
    with pytest.raises(KeyboardInterrupt):
        model.learn(UNBROKEN, callback=OnceAt(INITIAL + 4, raising(KeyboardInterrupt)))
    assert [envs.num_envs for envs in made if envs.closed] == [2]
    model.training.close_envs()
    assert ended([])


@pytest.mark.parametrize("twin", [False, True])
def test_gradient_steps_that_an_interrupt_cut_short_are_taken_later(twin, monkeypatch):
    model = (twin_model(monkeypatch) if twin else small_model()).learn(INITIAL)
    learner: Any = model.training.learner
    learning = learner._twin if twin else model.agent
    update, calls = learning.update, []

    def interrupted(batch, rng):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(batch, rng)

    taken = model.training.gradient_steps
    with monkeypatch.context() as patch:
        patch.setattr(learning, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.learn(ITERATION)
    assert model.num_timesteps == kept(model) == INITIAL + ITERATION
    assert model.training.gradient_steps == taken + 2
    assert differences(model.agent.state_dict(), learning.state_dict()) == []
    model.learn(ITERATION)
    assert model.num_timesteps == kept(model) == INITIAL + 2 * ITERATION
    assert model.training.gradient_steps == 0.125 * model.num_timesteps


@pytest.mark.parametrize("at", [8, INITIAL + 12, INITIAL + ITERATION])
def test_a_checkpoint_saved_in_the_middle_of_a_trial_goes_on_from_its_beginning(at, tmp_path):
    model = small_model().learn(UNBROKEN, callback=OnceAt(at, lambda model: model.save(tmp_path)))
    loaded = pearl.load(tmp_path, distribution=Counting())
    assert loaded.num_timesteps == kept(loaded) < at
    loaded.learn(UNBROKEN - loaded.num_timesteps)
    assert differences(everything_learnt(model), everything_learnt(loaded)) == []


def test_an_evaluation_that_is_interrupted_is_made_when_training_goes_on():
    model = small_model(evaluation={"interval": INITIAL, "n_test_tasks": 3})
    seen: list[Any] = []

    def evaluated(evaluation, values):
        if values["env_steps"] == INITIAL and not seen:
            seen.append("interrupted")
            raise KeyboardInterrupt
        seen.append(values["env_steps"])

    model.learn(0, on_evaluation=lambda evaluation, values: None)
    with pytest.raises(KeyboardInterrupt):
        model.learn(UNBROKEN, on_evaluation=evaluated)
    model.learn(ITERATION, on_evaluation=evaluated)
    assert seen == ["interrupted", INITIAL, INITIAL + ITERATION]
