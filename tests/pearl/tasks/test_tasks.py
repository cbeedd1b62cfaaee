"""Tasks, what every distribution gets for free, and the registry of families."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from pearl.tasks import registry
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.registry import UnknownFamilyError, families, make, register

words = st.text("abxy_é", max_size=4)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
parameters = st.dictionaries(words, json_values, max_size=4)


@given(parameters)
def test_a_task_survives_a_json_round_trip(params):
    task = Task(params)
    assert Task(json.loads(json.dumps(task.to_json()))) == task
    assert task.to_json() == params


@given(parameters)
def test_a_task_survives_pickling_and_copying_with_its_hash(params):
    task = Task(params)
    for twin in (pickle.loads(pickle.dumps(task)), copy.deepcopy(task), copy.copy(task), Task(task.params)):
        assert twin == task
        assert hash(twin) == hash(task)


def test_tasks_are_equal_where_their_parameters_are():
    assert Task({"a": 1.5, "b": [1, 2]}) == Task({"b": [1, 2], "a": 1.5})
    assert Task({"a": 1.5}) != Task({"a": 1.6})
    assert Task({"a": 1.5}) != Task({"b": 1.5})


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (True, 1), ([1, {"x": 2}], [1.0, {"x": 2.0}])])
def test_equal_tasks_hash_alike_however_their_numbers_are_written(one, other):
    assert Task({"a": one}) == Task({"a": other})
    assert len({Task({"a": one}), Task({"a": other})}) == 1


def test_a_task_does_not_follow_the_dictionary_it_was_made_from():
    params = {"goal": [0.5, 0.5]}
    task = Task(params)
    params["goal"][0] = 9.0
    params["speed"] = 1.0
    assert task.to_json() == {"goal": [0.5, 0.5]}


def test_a_task_cannot_be_changed_at_any_depth():
    task = Task({"goal": [0.5, 0.5], "body": {"mass": 1.0}})
    with pytest.raises(FrozenInstanceError):
        task.params = {}
    with pytest.raises(TypeError):
        task.params["goal"] = [1.0, 1.0]
    with pytest.raises(TypeError):
        task.params["goal"][0] = 1.0
    with pytest.raises(TypeError):
        task.params["body"]["mass"] = 2.0
    task.to_json()["goal"][0] = 9.0
    assert task == Task({"goal": [0.5, 0.5], "body": {"mass": 1.0}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [0.0, float("-inf")], {"mass": float("nan")}])
def test_a_parameter_that_is_not_finite_is_an_error(value):
    with pytest.raises(ValueError, match="must be finite"):
        Task({"velocity": value})


@pytest.mark.parametrize("value", [np.float32(1.0), np.zeros(2), object(), {1, 2}])
def test_a_parameter_that_is_not_json_is_an_error_that_says_what_to_do(value):
    with pytest.raises(TypeError, match=r"\.tolist\(\)"):
        Task({"goal": value})


@pytest.mark.parametrize(
    "params", [{1: 0.5}, {"masses": {1: 0.5}}, {"bodies": [{"masses": {None: 0.5}}]}, {"a": ({True: 1},)}], ids=repr
)
def test_a_name_that_is_no_string_is_an_error_at_any_depth(params):
    with pytest.raises(TypeError, match=r"must be strings, as in JSON, got (1|None|True) .*Write '(1|None|True)'"):
        Task(params)


def test_a_task_prints_its_parameters_in_short():
    assert str(Task({"goal": [0.123456, -1.0], "gait": "trot"})) == "goal=(0.123, -1), gait=trot"


class Countdown(gym.Env):
    """Terminates after as many steps as the task says."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, start):
        self.start = start

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.start
        return np.array([self.left], np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {}


class Countdowns(TaskDistribution):
    def sample(self, n, rng):
        return [Task({"start": int(start)}) for start in rng.integers(1, 9, n)]

    def make_env(self, task, *, render_mode=None):
        return Countdown(task.params["start"])


def test_a_distribution_with_the_two_methods_alone_steps_its_tasks_together():
    envs = Countdowns().make_vec_env([Task({"start": 1}), Task({"start": 3})])
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    envs.reset(seed=0)
    observations, _, terminations, _, _ = envs.step(np.array([0, 0]))
    assert observations.tolist() == [[0.0], [2.0]]
    assert terminations.tolist() == [True, False]

    observations, _ = envs.reset(options={"reset_mask": np.array([True, False])})
    assert observations.tolist() == [[1.0], [2.0]]


def test_a_distribution_claims_no_oracle_and_no_relabelling_unless_it_has_them():
    tasks, observation = [Task({"start": 1})], np.zeros((1, 1), np.float32)
    assert Countdowns().oracle_action(tasks, observation) is None
    assert Countdowns().relabel(tasks, observation[None], observation[None], observation[None]) is None


@pytest.fixture
def countdown_registered(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    register("countdown", Countdowns, "counts down")


@pytest.mark.usefixtures("countdown_registered")
def test_a_registered_family_is_made_by_its_name_and_listed():
    assert isinstance(make("countdown"), Countdowns)
    assert make("countdown").name == "countdown"
    assert families()["countdown"] == "counts down"
    assert list(families()) == sorted(families())


@pytest.mark.usefixtures("countdown_registered")
def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'countdown' is registered already"):
        register("countdown", Countdowns, "another")
    assert families()["countdown"] == "counts down"


def test_an_unknown_family_is_an_error_that_names_the_nearest():
    with pytest.raises(UnknownFamilyError, match=r"^Unknown family 'point-robt'\. Did you mean 'point-robot'"):
        make("point-robt")


def test_a_name_like_no_other_is_an_error_that_lists_the_families():
    with pytest.raises(KeyError) as caught:
        make("zzzzzzzz")
    assert "Did you mean" not in str(caught.value)
    assert "point-robot, " in str(caught.value)
