"""Gymnasium's spaces as rows of numbers: every kind, from real vector environments and back to them."""

import itertools
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from agents import PEARLAgent, PEARLAgentConfig, check_spaces
from agents.spaces import (
    MAX_DISCRETE_ACTIONS,
    action_rows,
    discrete_actions,
    env_actions,
    is_discrete,
    is_image,
    is_single,
    observation_row,
    observation_rows,
)
from encoders import EncoderConfig
from tests.support.agent_tester import OBSERVATION_SPACE, generator, pearl_agent

BOX = spaces.Box(-1.0, 1.0, (2,))
IMAGE = spaces.Box(0, 255, (17, 16, 3), np.uint8)
VECTORS: dict[str, tuple[gym.Space[Any], int]] = {
    "vector": (spaces.Box(-np.inf, np.inf, (3,), np.float32), 3),
    "matrix": (spaces.Box(-1.0, 1.0, (2, 3), np.float64), 6),
    "number": (spaces.Box(-1.0, 1.0, ()), 1),
    "bytes": (spaces.Box(0, 255, (5,), np.uint8), 5),
    "bytes in two dimensions": (spaces.Box(0, 255, (4, 3), np.uint8), 12),
    "a grid of bytes": (spaces.Box(0, 255, (7, 7, 3), np.uint8), 147),
    "floats like an image": (spaces.Box(0.0, 1.0, (16, 17, 2)), 544),
    "discrete": (spaces.Discrete(4, start=-2), 4),
    "multi-discrete": (spaces.MultiDiscrete([3, 2], start=[1, -1]), 5),
    "multi-discrete matrix": (spaces.MultiDiscrete([[3, 2], [2, 4]]), 11),
    "multi-binary": (spaces.MultiBinary(3), 3),
    "multi-binary matrix": (spaces.MultiBinary((2, 2)), 4),
    "dict": (spaces.Dict({"goal": BOX, "gear": spaces.Discrete(3), "arm": spaces.Box(-1.0, 1.0, (2, 2))}), 9),
    "tuple": (spaces.Tuple([spaces.Discrete(2, start=5), BOX]), 4),
    "nested": (spaces.Dict({"b": spaces.Tuple([BOX, spaces.MultiBinary(2)]), "a": spaces.Dict({"x": BOX})}), 6),
}
SPACES: dict[str, gym.Space[Any]] = {name: space for name, (space, _) in VECTORS.items()} | {"image": IMAGE}
ACTIONS: dict[str, gym.Space[Any]] = {
    "box": spaces.Box(np.array([-1.0, 2.0]), np.array([0.5, 7.0]), dtype=np.float64),
    "half precision": spaces.Box(-1.0, 1.0, (2,), np.float16),
    "matrix": spaces.Box(-1.0, 1.0, (2, 3)),
    "number": spaces.Box(-1.0, 1.0, ()),
    "discrete": spaces.Discrete(3, start=5),
    "discrete from below zero": spaces.Discrete(4, start=-2),
    "multi-discrete": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "multi-discrete matrix": spaces.MultiDiscrete([[3, 2], [2, 2]], dtype=np.int32),
    "multi-binary": spaces.MultiBinary(3),
    "multi-binary matrix": spaces.MultiBinary((2, 2)),
}
FINITE = {name: space for name, space in ACTIONS.items() if is_discrete(space)}


class Echo(gym.Env[Any, Any]):
    """Observes samples of a space, and remembers them and the actions that it was given."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any] = BOX, seed: int = 0) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.observation_space.seed(seed)
        self.observed: Any = None
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observed = self.observation_space.sample()
        return self.observed, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        self.observed = self.observation_space.sample()
        return self.observed, 0.0, False, False, {}


def copies(space: gym.Space[Any], n: int, action_space: gym.Space[Any] = BOX) -> tuple[list[Echo], SyncVectorEnv]:
    # A space of each environment's own, so that they observe different samples.
    envs = [Echo(deepcopy(space), deepcopy(action_space), seed) for seed in range(n)]
    return envs, SyncVectorEnv([lambda env=env: env for env in envs])


@pytest.mark.parametrize("name", VECTORS)
def test_rows_are_gymnasiums_flattening_of_each_environments_observation(name: str) -> None:
    space, width = VECTORS[name]
    envs, together = copies(space, 3)
    batch, _ = together.reset(seed=0)
    for _ in range(5):
        expected = np.stack([np.asarray(spaces.flatten(space, env.observed), np.float32) for env in envs])
        rows = observation_rows(space, batch)
        assert rows.shape == (3, width)
        assert rows.dtype == np.float32
        assert np.array_equal(rows, expected)
        batch, *_ = together.step(together.action_space.sample())


def test_the_rows_of_a_dict_are_worked_out_by_hand() -> None:
    space = spaces.Dict({"goal": BOX, "gear": spaces.Discrete(3, start=1)})
    batch = {"goal": np.array([[0.5, -0.5], [0.25, 1.0]], np.float32), "gear": np.array([3, 1])}
    # Gymnasium orders a Dict's parts by their names.
    assert observation_rows(space, batch).tolist() == [[0, 0, 1, 0.5, -0.5], [1, 0, 0, 0.25, 1.0]]


def test_images_stay_bytes_and_are_only_laid_out_flat() -> None:
    envs, together = copies(IMAGE, 3)
    rows = observation_rows(IMAGE, together.reset(seed=0)[0])
    assert rows.dtype == np.uint8
    assert np.array_equal(rows, np.stack([env.observed.ravel() for env in envs]))
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize("name", SPACES)
def test_one_observation_is_the_row_that_it_has_in_a_batch(name: str) -> None:
    space = SPACES[name]
    envs, together = copies(space, 2)
    batch, _ = together.reset(seed=0)
    rows = observation_rows(space, batch)
    for row, env in zip(rows, envs, strict=True):
        alone = observation_row(space, env.observed)
        assert alone.dtype == rows.dtype
        assert np.array_equal(alone, row[None])


@pytest.mark.parametrize("name", SPACES)
def test_one_observation_and_a_batch_of_them_are_told_apart(name: str) -> None:
    space = SPACES[name]
    for n in (1, 3):
        envs, together = copies(space, n)
        assert not is_single(space, together.reset(seed=0)[0])
        assert is_single(space, envs[0].observed)


@pytest.mark.parametrize("name", ["vector", "image"])
def test_rows_do_not_share_memory_with_the_observations(name: str) -> None:
    observations = np.stack([SPACES[name].sample() for _ in range(2)])
    rows = observation_rows(SPACES[name], observations)
    before = rows.copy()
    observations[:] = 0
    assert np.array_equal(rows, before)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("vector", np.zeros(4), r"^next must have the shape \(3,\), got \(4,\)"),
        ("vector", np.zeros((1, 3)), r"^next must have the shape \(3,\), got \(1, 3\)"),
        ("image", np.zeros((3, 17, 16), np.uint8), r"^next must have the shape \(17, 16, 3\), got \(3, 17, 16\)"),
        ("discrete", 2, r"^next must be one of Discrete\(4, start=-2\), got 2"),
        ("dict", {"goal": np.zeros(2, np.float32)}, r"^next must have the keys .*: it lacks the key "),
        ("tuple", (4, np.zeros(2, np.float32)), r"^next\[0\] must be one of Discrete\(2, start=5\), got 4"),
    ],
)
def test_an_observation_of_another_form_is_refused_by_its_name(name: str, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        observation_row(SPACES[name], wrong, "next")


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_come_back_from_rows_as_the_environment_takes_them(name: str) -> None:
    space = ACTIONS[name]
    space.seed(0)
    given = [space.sample() for _ in range(20)]
    rows = action_rows(space, given)
    assert rows.shape == (20, check_spaces(OBSERVATION_SPACE, space)[1])
    assert rows.dtype == np.float32
    back = env_actions(space, rows)
    assert back.dtype == space.dtype
    assert back.shape == (20, *(space.shape or ()))
    assert all(space.contains(action) for action in back)
    np.testing.assert_allclose(back, np.stack(given), rtol=1e-6)


@pytest.mark.parametrize("name", ACTIONS)
def test_each_environment_of_a_vector_gets_its_own_action_of_its_space(name: str) -> None:
    space = ACTIONS[name]
    space.seed(0)
    envs, together = copies(OBSERVATION_SPACE, 3, space)
    together.reset(seed=0)
    given = [space.sample() for _ in range(3)]
    together.step(env_actions(space, action_rows(space, given)))
    for env, action in zip(envs, given, strict=True):
        assert space.contains(env.actions[0])
        np.testing.assert_allclose(env.actions[0], action, rtol=1e-6)


def test_no_action_leaves_a_box_of_double_precision_even_by_rounding() -> None:
    space = spaces.Box(np.array([-0.3, 0.1]), np.array([0.1, 0.7]), dtype=np.float64)
    for bound in (space.low, space.high):
        assert space.contains(env_actions(space, bound.astype(np.float32)[None])[0])


def test_the_actions_of_a_finite_space_are_listed_in_order_by_hand() -> None:
    assert discrete_actions(spaces.Discrete(3, start=5)).tolist() == [[5], [6], [7]]
    listed = discrete_actions(spaces.MultiDiscrete([3, 2], start=[1, -1])).tolist()
    assert listed == [[1, -1], [1, 0], [2, -1], [2, 0], [3, -1], [3, 0]]
    assert discrete_actions(spaces.MultiBinary(2)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize("name", FINITE)
def test_every_combination_is_listed_once(name: str) -> None:
    space = FINITE[name]
    rows = discrete_actions(space)
    assert rows.dtype == np.float32
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert all(space.contains(action) for action in env_actions(space, rows))
    values = [np.unique(column) for column in rows.T]
    assert sorted(map(tuple, rows.tolist())) == sorted(itertools.product(*(column.tolist() for column in values)))
    space.seed(0)
    sampled = action_rows(space, [space.sample() for _ in range(2000)])
    assert {*map(tuple, sampled.tolist())} == {*map(tuple, rows.tolist())}


@pytest.mark.parametrize("name", SPACES)
def test_the_agents_widths_are_the_spaces_rows(name: str) -> None:
    space = SPACES[name]
    rows = observation_rows(space, copies(space, 1)[1].reset(seed=0)[0])
    assert check_spaces(space, spaces.MultiDiscrete([3, 2])) == (rows.shape[1], 2)


def test_only_bytes_of_an_images_size_are_images() -> None:
    assert [name for name, space in SPACES.items() if is_image(space)] == ["image"]


def make(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> PEARLAgent:
    return PEARLAgent(observation_space, action_space, EncoderConfig(), PEARLAgentConfig(), generator(0))


@pytest.mark.parametrize(
    "space", [spaces.Text(5), spaces.Sequence(BOX), spaces.Graph(BOX, None), spaces.OneOf([BOX, spaces.Discrete(2)])]
)
def test_an_observation_that_is_no_vector_is_refused_with_what_is_read(space: gym.Space[Any]) -> None:
    with pytest.raises(TypeError, match=r"^PEARL cannot read the observation space .*Boxes, Discrete") as raised:
        make(space, BOX)
    assert str(space) in str(raised.value)


def test_a_part_of_an_observation_that_is_refused_is_named_by_its_place() -> None:
    inner = spaces.Dict({"arm": spaces.Tuple([BOX, spaces.Text(5)])})
    with pytest.raises(TypeError, match=r"PEARL cannot read the observation\['arm'\]\[1\] space Text"):
        make(inner, BOX)


def test_an_image_among_other_observations_is_refused_by_its_place() -> None:
    for space, place in (
        (spaces.Dict({"camera": IMAGE, "arm": BOX}), r"observation\['camera'\]"),
        (spaces.Tuple([BOX, IMAGE]), r"observation\[1\]"),
    ):
        with pytest.raises(
            TypeError, match=rf"^{place} is an image \(.*\) among other observations.*whole observation"
        ):
            make(space, BOX)


@pytest.mark.parametrize(
    "space", [spaces.Dict({"arm": BOX}), spaces.Tuple([BOX, BOX]), spaces.Text(5), spaces.Sequence(BOX)]
)
def test_actions_of_another_kind_are_refused_with_what_is_taken(space: gym.Space[Any]) -> None:
    with pytest.raises(TypeError, match="PEARL needs a Box, Discrete, MultiDiscrete or MultiBinary as its") as raised:
        make(OBSERVATION_SPACE, space)
    assert str(space) in str(raised.value)


def test_whole_numbers_in_a_box_are_refused_with_a_remedy() -> None:
    with pytest.raises(TypeError, match=r"action space of floats, got Box\(0, 5, \(2,\), int64\).*as MultiDiscrete"):
        make(OBSERVATION_SPACE, spaces.Box(0, 5, (2,), np.int64))


@pytest.mark.parametrize(
    ("space", "n_actions"),
    [
        (spaces.Discrete(MAX_DISCRETE_ACTIONS + 1), 513),
        (spaces.MultiBinary(10), 1024),
        (spaces.MultiDiscrete([30, 30]), 900),
        (spaces.MultiBinary(64), 2**64),
    ],
)
def test_more_actions_than_are_taken_are_refused_with_their_number(space: gym.Space[Any], n_actions: int) -> None:
    with pytest.raises(ValueError, match=rf"has {n_actions} actions.*every combination.*up to 512.*wrapper"):
        make(OBSERVATION_SPACE, space)


@pytest.mark.parametrize("space", [spaces.Discrete(MAX_DISCRETE_ACTIONS), spaces.MultiBinary(9)])
def test_as_many_actions_as_are_taken_are_taken(space: gym.Space[Any]) -> None:
    assert pearl_agent(action_space=space).actions.encoded_width == MAX_DISCRETE_ACTIONS


INFINITY = np.float32(np.inf)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-INFINITY, INFINITY),
        (-1.0, INFINITY),
        (-INFINITY, 1.0),
        (np.finfo(np.float32).min, np.finfo(np.float32).max),
        (0.5, 0.5),
    ],
)
def test_an_action_space_without_finite_bounds_or_without_room_is_refused_with_a_remedy(low: Any, high: Any) -> None:
    space = spaces.Box(np.array([-1.0, low], np.float32), np.array([1.0, high], np.float32))
    with pytest.raises(ValueError, match=r"finite bounds, low under high, got .*RescaleAction"):
        make(OBSERVATION_SPACE, space)
