"""Families in half of whose tasks actions work the other way round."""

import json
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from pearl import Task, TaskDistribution, check_task_distribution
from pearl.tasks import make
from pearl.tasks.transforms.mirrored import ACTION_SIGN, Mirrored, MirroredActions, mirrored
from tests.support.small import Counting, small_model


class Recorder(gym.Env):
    """Keeps the actions that it was given; observes what they sum to."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, action_space, pull=0.0):
        self.action_space, self.pull = action_space, pull
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = np.float32(self.np_random.normal())
        return np.array([self.position], np.float32), {}

    def step(self, action):
        self.actions.append(action)
        self.position += np.float32(self.pull + np.sum(action))
        return np.array([self.position], np.float32), float(self.position), False, False, {}


class Pulls(TaskDistribution):
    """One action space, tasks that differ in a constant pull."""

    def __init__(self, action_space=None):
        self.action_space = spaces.Box(-1, 1, (2,)) if action_space is None else action_space

    def sample(self, n, rng):
        return [Task({"pull": pull}) for pull in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Recorder(self.action_space, task.params["pull"]), 5)


REFLECTIONS = {
    "box about 0": (spaces.Box(-1, 1, (2,)), [0.25, -1.0], [-0.25, 1.0]),
    "box about its middle": (spaces.Box(np.float32([2, -1]), np.float32([6, 0])), [3.0, -1.0], [5.0, 0.0]),
    "discrete": (spaces.Discrete(5), 1, 3),
    "discrete with a start": (spaces.Discrete(3, start=5), 5, 7),
    "discrete from below zero": (spaces.Discrete(4, start=-2), -2, 1),
    "multi-discrete": (spaces.MultiDiscrete([3, 4], start=[1, -1]), [1, 0], [3, 1]),
    "multi-binary": (spaces.MultiBinary(3), [1, 0, 0], [0, 1, 1]),
}


@pytest.mark.parametrize("name", REFLECTIONS)
def test_the_environment_gets_the_mirror_image_that_is_worked_out_by_hand(name):
    space, given, expected = REFLECTIONS[name]
    given = np.asarray(given, space.dtype) if space.shape else space.dtype.type(given)
    assert space.contains(given)
    env = Recorder(space)
    outer = MirroredActions(env)
    outer.reset(seed=0)
    outer.step(given)
    assert np.asarray(env.actions[0]).tolist() == expected
    assert np.asarray(env.actions[0]).dtype == space.dtype
    assert space.contains(env.actions[0])


@pytest.mark.parametrize("name", REFLECTIONS)
def test_every_mirror_image_is_an_action_and_its_own_image_is_the_action(name):
    space = REFLECTIONS[name][0]
    space.seed(0)
    outer = MirroredActions(Recorder(space))
    assert outer.action_space == space
    for _ in range(50):
        action: Any = space.sample()
        assert space.contains(outer.action(action))
        np.testing.assert_allclose(outer.action(outer.action(action)), action, atol=1e-6)


def test_no_mirror_image_of_a_bound_leaves_the_bounds_even_by_rounding():
    bounds = np.sort(np.random.default_rng(0).uniform(-5, 5, (2, 200)).astype(np.float32), axis=0)
    space = spaces.Box(*bounds)
    outer = MirroredActions(Recorder(space))
    assert space.contains(outer.action(space.low))
    assert space.contains(outer.action(space.high))


def test_actions_that_have_no_mirror_image_are_refused():
    with pytest.raises(TypeError, match=r"Actions of Dict\(.*have no mirror image"):
        MirroredActions(Recorder(spaces.Dict({"arm": spaces.Box(-1, 1, (2,))})))


@pytest.mark.parametrize("n", [2, 7, 8])
def test_half_of_the_tasks_are_mirrored_in_turn(n):
    for seed in range(10):
        signs = [task.params[ACTION_SIGN] for task in mirrored(Pulls()).sample(n, np.random.default_rng(seed))]
        assert set(signs) == {-1, 1}
        assert all(one == -other for one, other in pairwise(signs))


def test_the_generator_says_which_half_comes_first():
    family = mirrored(Pulls())
    first = [family.sample(1, np.random.default_rng(seed))[0].params[ACTION_SIGN] for seed in range(40)]
    assert 10 < first.count(1) < 30


def test_the_tasks_are_otherwise_the_familys_own_and_follow_from_the_generator():
    family = mirrored(Pulls())
    tasks = family.sample(6, np.random.default_rng(3))
    assert tasks == family.sample(6, np.random.default_rng(3))
    assert tasks != family.sample(6, np.random.default_rng(4))
    assert len({task.params["pull"] for task in tasks}) == 6
    for task in tasks:
        assert set(task.params) == {"pull", ACTION_SIGN}
        assert Task(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(("sign", "moved"), [(1, 1.5), (-1, -0.5)])
def test_a_tasks_sign_says_whether_its_actions_are_mirrored(sign, moved):
    env = mirrored(Pulls()).make_env(Task({"pull": 0.5, ACTION_SIGN: sign}))
    start, _ = env.reset(seed=0)
    observation, *_ = env.step(np.array([0.75, 0.25], np.float32))
    assert observation - start == pytest.approx(moved, abs=1e-6)
    assert env.spec is None or env.spec.max_episode_steps == 5


@pytest.mark.parametrize("params", [{"pull": 0.5}, {"pull": 0.5, ACTION_SIGN: 0}, {"pull": 0.5, ACTION_SIGN: "left"}])
def test_another_sign_or_none_is_refused_by_the_task(params):
    with pytest.raises(ValueError, match=r"action_sign must be 1 or -1, got .* in the task \(pull=0\.5"):
        mirrored(Pulls()).make_env(Task(params))


def test_a_family_that_is_mirrored_already_is_refused():
    with pytest.raises(ValueError, match="'mirrored-Pulls' have a parameter 'action_sign' already"):
        mirrored(mirrored(Pulls()))


def test_a_mirrored_family_has_a_name_of_its_own():
    assert mirrored(Pulls()).name == "mirrored-Pulls"
    assert mirrored(make("point-robot")).name == "mirrored-point-robot"
    assert mirrored(Pulls(), name="mine").name == "mine"
    assert isinstance(mirrored(Pulls()), Mirrored)


@pytest.mark.parametrize("space", [REFLECTIONS[name][0] for name in REFLECTIONS], ids=str)
def test_the_checker_accepts_mirrored_families(space):
    check_task_distribution(mirrored(Pulls(space)))


@pytest.mark.parametrize("family", ["varying-cartpole", "varying-pendulum"])
def test_the_checker_accepts_the_mirrored_families_that_come_with_the_framework(family):
    check_task_distribution(make(family))
    assert make(family).name == family


def test_a_split_draws_training_and_test_tasks_apart():
    family = Counting()
    train, test = family.split(5, 3, np.random.default_rng(0))
    assert (len(train), len(test)) == (5, 3)
    assert not set(train) & set(test)
    assert [*train, *test] == family.sample(8, np.random.default_rng(0))


@pytest.mark.parametrize(("n_train", "n_test"), [(3, 3), (5, 2), (2, 5)])
def test_where_the_test_tasks_are_the_training_tasks_a_split_gives_the_same(n_train, n_test):
    family = Counting()
    family.same_tasks = True
    train, test = family.split(n_train, n_test, np.random.default_rng(0))
    assert (len(train), len(test)) == (n_train, n_test)
    shared = min(n_train, n_test)
    assert train[:shared] == test[:shared]
    assert len(set(train) | set(test)) == max(n_train, n_test)


def test_a_familys_own_split_is_the_models():
    class Sided(Counting):
        def split(self, n_train, n_test, rng):
            low, high = (
                [Task({"number": side * number}) for number in rng.uniform(0.1, 1, n).tolist()]
                for side, n in ((-1, n_train), (1, n_test))
            )
            return low, high

    model = small_model(Sided())
    assert all(task.params["number"] < 0 for task in model.train_tasks)
    assert all(task.params["number"] > 0 for task in model.test_tasks)
