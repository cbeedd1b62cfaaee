"""Families whose observations tell the task."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import pearl
from agents.spaces import observation_rows
from pearl import Task, TaskDistribution, check_task_distribution
from pearl.collection.workers import make_envs
from pearl.config.reading import ConfigError
from pearl.evaluation.protocol import measure_references
from pearl.tasks import make
from pearl.tasks.numbers import TaskNumbers
from pearl.tasks.transforms.task_observed import TaskObserved, task_observed
from tests.support.small import HORIZON, Counting, small_config, small_model


class Still(gym.Env):
    """Always observes the same; the reward is a number."""

    action_space = spaces.Box(-1, 1, (2,))

    def __init__(self, observation_space, reward=0.0):
        self.observation_space, self.reward = observation_space, reward
        observation_space.seed(0)
        self.observation = observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation, {}

    def step(self, action):
        return self.observation, self.reward, False, False, {}


class Stills(TaskDistribution):
    """Tasks of `Still` that differ in their reward."""

    def __init__(self, space):
        self.space = space

    def sample(self, n, rng):
        return [Task({"reward": reward}) for reward in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Still(self.space, task.params["reward"]), 5)


class Few(Counting):
    """A finite family."""

    def sample(self, n, rng):
        if n > 7:
            raise ValueError("There are 7 tasks.")
        return super().sample(n, rng)


def numbers(*params):
    return TaskNumbers([Task(each) for each in params])


SPACES = {
    "box": spaces.Box(-1, 1, (3,)),
    "box of two dimensions": spaces.Box(-1, 1, (2, 3), np.float64),
    "discrete": spaces.Discrete(4),
    "dictionary": spaces.Dict({"arm": spaces.Box(-1, 1, (2,)), "lamp": spaces.MultiBinary(2)}),
}


@pytest.mark.parametrize("name", SPACES)
def test_an_observation_is_the_flattened_one_and_then_the_tasks_numbers(name):
    family = task_observed(Stills(SPACES[name]))
    task = family.sample(1, np.random.default_rng(1))[0]
    env = family.make_env(task)
    observation, _ = env.reset(seed=0)
    inner = spaces.flatten(SPACES[name], env.unwrapped.observation)
    assert env.observation_space.contains(observation)
    assert observation[:-1].tolist() == pytest.approx(inner.tolist())
    assert observation[-1] == pytest.approx(task.params["reward"], abs=0.01)
    assert np.array_equal(env.step(env.action_space.sample())[0], observation)


@pytest.mark.parametrize("name", SPACES)
def test_environments_that_are_stepped_together_tell_each_its_own_task(name):
    family = task_observed(Stills(SPACES[name]))
    tasks = family.sample(3, np.random.default_rng(1))
    envs, alone = family.make_vec_env(tasks), [family.make_env(task) for task in tasks]
    expected = np.stack([env.reset(seed=0)[0] for env in alone])
    assert envs.single_observation_space == alone[0].observation_space
    for observations in (
        envs.reset(seed=0)[0],
        envs.step(envs.action_space.sample())[0],
        envs.reset(options={"reset_mask": np.array([True, False, False])})[0],
    ):
        assert envs.observation_space.contains(observations)
        assert np.array_equal(observation_rows(envs.single_observation_space, observations), expected)


@pytest.mark.parametrize("family", ["point-robot", "sparse-point-robot", "varying-cartpole", "varying-pendulum"])
def test_the_checker_accepts_told_families_that_come_with_the_framework(family):
    check_task_distribution(task_observed(make(family)))


def test_numbers_are_measured_in_the_range_of_the_familys_tasks():
    reader = numbers({"speed": 2.0}, {"speed": 6.0}, {"speed": 5})
    assert [reader.of(Task({"speed": speed})).tolist() for speed in (2, 4.0, 6, 8)] == [[-1], [0], [1], [2]]


def test_a_number_that_all_tasks_share_says_nothing():
    assert numbers({"mass": 3.0}, {"mass": 3.0}).of(Task({"mass": 3.0})).tolist() == [0]


def test_booleans_are_minus_one_or_one_even_where_all_are_alike():
    reader = numbers({"open": True}, {"open": True})
    assert [reader.of(Task({"open": value})).tolist() for value in (True, False)] == [[1], [-1]]


def test_other_values_are_one_hot_and_those_of_other_families_none():
    reader = numbers({"env": "push"}, {"env": "pick"}, {"env": "push"})
    assert [reader.of(Task({"env": env})).tolist() for env in ("pick", "push", "door")] == [[1, 0], [0, 1], [0, 0]]


def test_lists_and_mappings_are_read_item_by_item():
    reader = numbers(
        {"goal": [0.0, -2.0], "arm": {"mass": 1.0, "left": True}},
        {"goal": [4.0, 2.0], "arm": {"mass": 3.0, "left": False}},
    )
    assert reader.width == 4
    task = Task({"goal": [1.0, 2.0], "arm": {"mass": 2.0, "left": False}})
    assert reader.of(task).tolist() == [-0.5, 1, 0, -1]


def test_what_a_task_lacks_is_zero_and_what_no_other_has_is_not_told():
    reader = numbers({"goal": [1.0]}, {"goal": [2.0, 5.0]}, {"goal": [3.0, 9.0]})
    assert reader.of(Task({"goal": [3.0]})).tolist() == [1, 0]
    assert reader.of(Task({"goal": [3.0, 9.0, 7.0]})).tolist() == [1, 1]


def test_another_kind_of_value_is_refused_with_the_parameters_name():
    with pytest.raises(ValueError, match=r"goal\.1 of the task \(goal=\(1, left\)\) must be a number"):
        numbers({"goal": [1.0, 2.0]}).of(Task({"goal": [1, "left"]}))


def test_the_numbers_of_a_familys_tasks_lie_about_one_whatever_the_parameters():
    for family in ("point-robot", "varying-pendulum", "varying-cartpole"):
        distribution = task_observed(make(family))
        tasks = distribution.sample(200, np.random.default_rng(9))
        found = np.stack([distribution.numbers.of(task) for task in tasks])
        assert found.shape == (200, distribution.numbers.width)
        assert np.abs(found).max() < 1.1
        assert (found.max(0) - found.min(0) > 1.5).all()


def test_a_finite_family_is_measured_by_fewer_tasks():
    assert task_observed(Few()).numbers.width == 1


def test_tasks_are_the_familys_own():
    for seed in range(3):
        own, others = (
            family.sample(5, np.random.default_rng(seed)) for family in (task_observed(Counting()), Counting())
        )
        assert own == others
        both = [family.split(5, 3, np.random.default_rng(seed)) for family in (task_observed(Counting()), Counting())]
        assert both[0] == both[1]


def test_what_else_a_family_says_of_itself_is_kept():
    inner = make("sparse-point-robot")
    inner.same_tasks, inner.simulators = True, ("numpy",)
    family = task_observed(inner)
    task = family.sample(1, np.random.default_rng(0))[0]
    assert (family.same_tasks, family.simulators) == (True, ("numpy",))
    assert family.plane(task) == inner.plane(task)
    assert pearl.tasks.time_limit(task_observed(Counting()).make_env(Task({"number": 0.5})), "It has") == HORIZON
    assert task_observed(make("point-robot")).make_env(task, render_mode="rgb_array").render_mode == "rgb_array"


def test_the_oracle_acts_on_what_the_family_itself_observes():
    inner = make("point-robot")
    family = task_observed(inner)
    tasks = family.sample(3, np.random.default_rng(0))
    own, others = (distribution.make_vec_env(tasks).reset(seed=0)[0] for distribution in (inner, family))
    assert np.array_equal(family.oracle_action(tasks, others), inner.oracle_action(tasks, own))
    assert measure_references(family, tasks, seed=0) == measure_references(inner, tasks, seed=0)
    assert task_observed(Counting()).oracle_action(tasks, np.zeros((3, 4), np.float32)) is None


def test_worker_processes_step_told_environments_alike():
    family = task_observed(make("varying-pendulum"))
    tasks = family.sample(2, np.random.default_rng(0))
    here, there = (make_envs(family, tasks, workers) for workers in (0, 1))
    assert np.array_equal(here.reset(seed=0)[0], there.reset(seed=0)[0])
    here.close()
    there.close()


def test_a_told_transition_is_not_relabelled_since_it_would_still_tell_its_own_task():
    with pytest.raises(ConfigError, match=r"training\.relabelling\.candidates needs a family"):
        pearl.PEARL(
            task_observed(make("sparse-point-robot")), small_config(training={"relabelling": {"candidates": 2}})
        ).learn(80)


def test_images_are_refused():
    family = task_observed(make("image-point-robot"))
    with pytest.raises(ValueError, match=r"images .* have no room for a task's parameters"):
        family.make_env(family.sample(1, np.random.default_rng(0))[0])


def test_a_family_that_is_told_already_is_refused():
    with pytest.raises(ValueError, match="tasks of 'task-observed-Counting' are observed already"):
        task_observed(task_observed(Counting()))


def test_a_told_family_has_a_name_of_its_own():
    assert task_observed(make("point-robot")).name == "task-observed-point-robot"
    assert task_observed(Counting(), name="mine").name == "mine"
    assert isinstance(pearl.task_observed(Counting()), TaskObserved)


def test_pearl_itself_learns_from_told_observations():
    assert small_model(task_observed(Counting())).learn(40).observation_space.shape == (4,)
