"""The checker of task distributions: what it says of numbers that float32 cannot hold, and of images."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

import pearl
from pearl import TaskDistributionWarning, check_task_distribution
from pearl.tasks import make
from tests.support.tasks.walks import Walk, Walks, assert_found

WIDE = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)


def walks_seen(observe, space=WIDE, reward=lambda reward: reward, info=lambda reward: {}):
    """Walks whose observations, rewards and infos are made of the walk's."""

    class Seen(Walk):
        observation_space = space

        def reset(self, *, seed=None, options=None):
            observation, _ = super().reset(seed=seed)
            return observe(self, observation), {}

        def step(self, action):
            observation, plain, *ends, _ = super().step(action)
            return observe(self, observation), reward(plain), *ends, info(plain)

    return type("SeenWalks", (Walks,), {"env": Seen})()


def scaled(factor, offset=0.0):
    return walks_seen(lambda env, observation: factor * observation.astype(np.float64) + offset)


def warned(distribution):
    """Return what the checker warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_task_distribution(distribution)
    assert all(each.category is TaskDistributionWarning for each in caught), [str(each) for each in caught]
    assert all(each.filename == __file__ for each in caught), "of the caller's line"
    return [str(each.message) for each in caught]


def same(env, observation):
    return observation.astype(np.float64)


@pytest.mark.parametrize(
    "family", ["point-robot", "sparse-point-robot", "image-point-robot", "varying-cartpole", "varying-pendulum"]
)
def test_nothing_is_said_of_the_families_that_come_with_the_framework(family):
    assert warned(make(family)) == []


@pytest.mark.parametrize("factor", [1e-8, 0.01, 1.0, 1e4, 1e20])
@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_nothing_is_said_of_the_unit_of_observations(factor, offset):
    assert warned(scaled(factor, factor * offset)) == []


def test_only_the_entries_that_float32_cannot_tell_apart_are_named():
    space = gym.spaces.Box(-np.inf, np.inf, (9,), np.float64)
    far = np.array([0, 1e10, 0, 1e11, *[1e12] * 5])
    (message,) = warned(walks_seen(lambda env, observation: observation.astype(np.float64) + far, space))
    assert "(entries 1, 3, 4, 5, 6, …)" in message


def test_an_entry_of_a_composite_observation_is_named_by_its_place_in_the_row():
    where = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    space = gym.spaces.Dict({"gear": gym.spaces.Discrete(3), "where": where})
    (message,) = warned(
        walks_seen(lambda env, observation: {"gear": 0, "where": 1e12 + observation.astype(np.float64)}, space)
    )
    assert "(entries 3)" in message


def test_nothing_is_said_of_observations_that_never_change():
    assert warned(walks_seen(lambda env, observation: np.ones(1))) == []


@pytest.mark.parametrize("space", [WIDE, gym.spaces.Box(0, 2**62, (1,), np.int64)])
def test_changes_that_float32_cannot_tell_are_named(space):
    def seconds(env, observation):
        return np.array([1.75e9 + env.steps], np.float64).astype(space.dtype)

    (message,) = warned(walks_seen(seconds, space))
    assert "change by less than float32, which agents use, can resolve (entries 0)" in message
    assert "entry 0 is about 1.75e+09 and changes by 5" in message
    assert "time since the reset" in message
    assert "agent.observations.normalise" not in message


def test_rounding_errors_of_a_simulator_are_no_changes():
    space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    assert warned(walks_seen(lambda env, observation: np.append(observation, 1 + 1e-13 * env.steps), space)) == []


@pytest.mark.parametrize("factor", [1e-5, 1e4, 1e30])
@pytest.mark.parametrize("which", ["reward", "training_reward"])
def test_nothing_is_said_of_the_unit_of_rewards(which, factor):
    changed = {"reward": lambda reward: factor * reward}
    if which == "training_reward":
        changed = {"info": lambda reward: {"training_reward": factor * reward}}
    assert warned(walks_seen(same, **changed)) == []


def test_nothing_is_said_where_random_actions_earn_nothing():
    family = walks_seen(same, reward=lambda reward: 0.0)
    family.env.step = lambda self, action, step=family.env.step: (
        *step(self, action)[:2],
        self.goal > 0 and self.steps > 2,
        False,
        {},
    )
    assert warned(family) == []


@pytest.mark.parametrize("factor", [1e39, -1e300])
def test_observations_that_overflow_in_float32_are_refused(factor):
    assert_found(scaled(1e-3, factor), "The observation that reset returned for task (goal=", "infinite in float32")
    assert_found(scaled(1e-3, factor), f"has the number {factor:.3g}", "Scale it to about one in make_env")


def test_an_infinite_observation_is_not_said_to_overflow():
    assert_found(scaled(1.0, np.inf), "it must be finite")


@pytest.mark.parametrize("reward", [1e39, -1e300, np.float64(1e39), 10**400])
@pytest.mark.parametrize("which", ["reward", "info['training_reward']"])
def test_rewards_that_overflow_in_float32_are_refused(which, reward):
    changed = {"reward": lambda _: reward} if which == "reward" else {"info": lambda _: {"training_reward": reward}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_found(walks_seen(same, **changed), f"{which} of task (goal=", "infinite in float32", "Scale rewards")


def image_box(high=255, dtype=np.uint8):
    return gym.spaces.Box(0, high, (16, 16), dtype)


def painted(space, high):
    def paint(env, observation):
        return np.full((16, 16), np.clip(abs(observation[0]) * high / 9, 0, high), space.dtype)

    return walks_seen(paint, space)


def test_nothing_is_said_of_an_image_with_bright_pixels():
    assert warned(painted(image_box(), 255)) == []


def test_an_image_of_symbols_is_named_with_flattening():
    (message,) = warned(painted(image_box(), 30))
    assert "no byte exceeds" in message
    assert "FlattenObservation" in message


@pytest.mark.parametrize("space", [image_box(dtype=np.float32), image_box(high=100)])
def test_what_has_an_images_shape_but_is_read_as_a_vector_is_named(space):
    (message,) = warned(painted(space, 90))
    assert "shape (16, 16) of an image" in message
    assert "vector of 256 float32 numbers" in message
    assert "uint8 in a Box from 0 to 255" in message


def test_nothing_is_said_of_symbols_that_are_bounded_as_such():
    assert warned(painted(image_box(high=10), 10)) == []


def test_a_small_grid_of_bytes_is_a_vector_within_its_bounds():
    space = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)
    assert warned(walks_seen(lambda env, observation: np.full((7, 7, 3), abs(observation[0]), np.uint8), space)) == []
    high = gym.spaces.Box(0, 10, (7, 7, 3), np.uint8)
    assert_found(walks_seen(lambda env, observation: np.full((7, 7, 3), 11, np.uint8), high), "bounds must agree")


def test_the_warning_is_public():
    assert issubclass(pearl.TaskDistributionWarning, UserWarning)
