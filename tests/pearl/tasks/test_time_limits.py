"""A time limit is found wherever an environment tells it, and is asked for in the same way everywhere."""

import gymnasium as gym
import numpy as np
import pytest

import pearl
from pearl import PEARL, Task, check_task_distribution
from pearl.tasks import own_time_limit, perturbed, time_limit
from tests.support.small import HORIZON, Counting, CountingEnv, small_config, small_model


class OwnLimit(CountingEnv):
    """Truncates by itself after ``length`` steps, and says so in an attribute."""

    def __init__(self, number=0.0, length=6, attribute="max_episode_steps", render_mode=None):
        super().__init__(number, length)
        setattr(self, attribute, length)


def endless():
    return CountingEnv(0.3, ending="never")


TELLING = {
    "a wrapper": lambda: gym.wrappers.TimeLimit(endless(), 25),
    "a wrapper under others": lambda: gym.wrappers.TransformReward(
        gym.wrappers.OrderEnforcing(gym.wrappers.TimeLimit(endless(), 25)), float
    ),
    "a shorter wrapper under a longer": lambda: gym.wrappers.TimeLimit(gym.wrappers.TimeLimit(endless(), 25), 40),
    "a shorter wrapper around a longer": lambda: gym.wrappers.TimeLimit(gym.wrappers.TimeLimit(endless(), 40), 25),
    "an attribute": lambda: OwnLimit(0.3, 25),
    "an attribute that is a float": lambda: OwnLimit(0.3, 25.0),
    "a private attribute": lambda: gym.wrappers.OrderEnforcing(OwnLimit(0.3, np.int64(25), "_max_episode_steps")),
}


@pytest.mark.parametrize("make", TELLING.values(), ids=TELLING)
def test_whatever_tells_a_time_limit_is_asked(make):
    assert own_time_limit(make()) == time_limit(make(), "It has") == 25


@pytest.mark.parametrize("make", TELLING.values(), ids=TELLING)
def test_adapting_plays_as_long_as_the_environment_and_not_as_long_as_the_family(make):
    trial = small_model().adapt(make(), episodes=2).trial
    assert trial.mask.sum() == 2 * 25
    assert trial.truncated[0].nonzero()[0].tolist() == [24, 49]


def test_a_registered_limit_counts_and_a_wrapper_around_it_before_it():
    assert own_time_limit(gym.make("Pendulum-v1")) == 200
    assert own_time_limit(gym.make("Pendulum-v1", max_episode_steps=30)) == 30
    assert own_time_limit(gym.wrappers.TimeLimit(gym.make("Pendulum-v1"), 300)) == 200
    assert own_time_limit(gym.wrappers.TimeLimit(gym.make("Pendulum-v1").unwrapped, 300)) == 300


@pytest.mark.parametrize("value", [None, 0, -1, "25", 25.5, float("inf"), True])
def test_an_attribute_that_is_no_number_of_steps_tells_nothing(value):
    env = endless()
    env.max_episode_steps = value
    assert own_time_limit(env) is None


def test_adapting_ends_where_a_spec_tells_a_limit_that_nothing_keeps():
    env = endless()
    env.spec = gym.envs.registration.EnvSpec("test/Endless-v0", max_episode_steps=7)
    assert small_model().adapt(env, episodes=2).trial.mask.sum() == 14


class OfOwnLengths(Counting):
    """Tasks whose time limits differ: from 3 to 7 steps."""

    def length_of(self, task):
        return 5 + round(2 * task.params["number"])

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(CountingEnv(task.params["number"], ending="never"), self.length_of(task))


class OfOwnAttributes(OfOwnLengths):
    """The same, each told by the environment's attribute."""

    def make_env(self, task, *, render_mode=None):
        return OwnLimit(task.params["number"], self.length_of(task))


@pytest.mark.parametrize("kind", [OfOwnLengths, OfOwnAttributes])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_family_whose_limit_differs_by_task_works_throughout(kind, workers, tmp_path):
    family = kind()
    check_task_distribution(family)
    model = PEARL(family, small_config(training={"workers": workers}))
    lengths = [family.length_of(task) for task in model.train_tasks]
    assert len(set(lengths)) > 1
    assert model.horizon == lengths[0]
    model.learn(sum(lengths) + 1)
    assert model.training.replay.n_added.tolist() == [3 * length for length in lengths]
    assert model.evaluate().trajectories.mask.sum(1).tolist() == [
        2 * family.length_of(task) for task in model.test_tasks
    ]
    model.save(tmp_path)
    loaded = pearl.load(tmp_path, distribution=kind())
    assert loaded.horizon == model.horizon
    task = model.test_tasks[0]
    assert loaded.adapt(family.make_env(task), episodes=2).trial.mask.sum() == 2 * family.length_of(task)
    for one in (model, loaded):
        one.training.envs.close()


def test_a_limit_in_an_attribute_is_enough_for_a_family_and_is_held_against_its_episodes():
    assert small_model(OfOwnAttributes()).horizon > 0

    class Forgetful(Counting):
        def make_env(self, task, *, render_mode=None):
            env = CountingEnv(task.params["number"], ending="never")
            env.max_episode_steps = HORIZON
            return env

    with pytest.raises(pearl.TaskDistributionError, match="went past its time limit of 10 steps"):
        check_task_distribution(Forgetful())


def test_an_environment_that_limits_itself_can_be_perturbed():
    gym.register("test/LimitedByItself-v0", OwnLimit, disable_env_checker=True)
    family = perturbed("test/LimitedByItself-v0", {"number": pearl.Uniform(-1, 1)})
    assert time_limit(family.make_env(Task({"number": 0.5})), "It has") == 6
