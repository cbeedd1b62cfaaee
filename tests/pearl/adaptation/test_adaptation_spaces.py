"""Whatever the spaces, models train, survive a checkpoint, and adapt in the environment's own terms."""

import copy
import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

import pearl
from agents import ObservationsConfig
from agents.spaces import is_image
from pearl import Task, check_task_distribution, task_observed
from pearl.model.meta_learner import learner_of
from tests.support.algorithms import CONFIGS
from tests.support.sessions import play_by_hand, same
from tests.support.small import differences, everything_learnt, small_model
from tests.support.tasks.sampled_spaces import (
    ACTIONS,
    HORIZON,
    IMAGES,
    OBSERVATIONS,
    Samplers,
    env_of,
    model_of,
)


@pytest.fixture(
    params=[
        *((observations, "discrete") for observations in OBSERVATIONS),
        *(("vector", actions) for actions in ACTIONS if actions != "discrete"),
    ],
    ids=lambda param: f"{param[0]} to {param[1]}",
)
def model(request):
    return model_of(*request.param)


def batch(space, n):
    """Observations of a space as a vector environment hands them out, and the same one by one."""
    space = copy.deepcopy(space)
    space.seed(0)
    single = [space.sample() for _ in range(n)]
    together = gym.vector.utils.create_empty_array(space, n)
    return gym.vector.utils.concatenate(space, single, together), single


def test_a_session_equals_adapt_for_the_same_seed_and_environment(model):
    policy = model.adapt(env_of(model), episodes=2, seed=7)
    session = model.session(seed=7)
    play_by_hand(session, env_of(model), episodes=2, seed=7)
    assert same(session.memory, policy.memory)
    assert policy.trial.n_transitions == 2 * HORIZON


def test_adapting_moves_the_posterior(model):
    one, other = (model.adapt(env_of(model, number), seed=0).posterior for number in (0.9, -0.9))
    assert not torch.equal(one.mean, other.mean)


def test_predict_gives_an_action_of_the_space_for_one_observation_and_a_row_for_each_of_many(model):
    policy = model.adapt(env_of(model), episodes=1, seed=0)
    together, single = batch(model.observation_space, 3)
    rows, _ = policy.predict(together, deterministic=True)
    alone = [policy.predict(observation, deterministic=True)[0] for observation in single]
    assert len(rows) == 3
    for row, action in zip(rows, alone, strict=True):
        assert model.action_space.contains(row)
        assert model.action_space.contains(action)
        np.testing.assert_allclose(row, action, atol=1e-5)


@pytest.mark.parametrize("deterministic", [True, False])
def test_stable_baselines3_evaluates_the_adapted_policy_of_every_space_that_it_has(model, deterministic):
    if isinstance(model.observation_space, spaces.Tuple):
        pytest.skip("stable-baselines3 has no Tuple observations")
    policy = model.adapt(env_of(model), episodes=1, seed=0)
    envs = DummyVecEnv([lambda number=number: env_of(model, number) for number in (0.25, 0.5)])
    returns, lengths = evaluate_policy(
        policy, envs, 4, deterministic=deterministic, return_episode_rewards=True, warn=False
    )
    assert sorted(returns) == pytest.approx([HORIZON * 0.25] * 2 + [HORIZON * 0.5] * 2, abs=1e-4)
    assert lengths == [HORIZON] * 4


def test_a_model_meta_trains_and_evaluates_in_every_space(model):
    model.learn(60)
    assert model.num_timesteps >= 60
    assert model.training.gradient_steps > 0
    assert np.isfinite(model.evaluate().returns).all()


def test_a_saved_model_goes_on_bit_for_bit_in_every_space(model, tmp_path):
    model.learn(60)
    model.save(tmp_path / "saved")
    loaded = pearl.load(tmp_path / "saved", distribution=model.task_distribution)
    for each in (model, loaded):
        each.training.iterate()
    assert differences(everything_learnt(loaded), everything_learnt(model)) == []


def test_the_checker_accepts_every_space(model):
    check_task_distribution(model.task_distribution)


PARTS = {"arm": np.zeros(3), "gear": 1, "doors": np.zeros(2)}
WRONG = [
    ("vector", np.zeros(4), r"must have the shape \(3,\), got \(4,\)"),
    ("vector", np.array([0.0, np.nan, 0.0]), "must be finite"),
    ("matrix", np.zeros(4), r"must have the shape \(2, 2\), got \(4,\)"),
    ("discrete", 9, r"must be one of Discrete\(7, start=-3\), got 9"),
    ("dict", {"arm": np.zeros(3), "gear": 1}, r"must have the keys \['arm', .*: it lacks the key 'doors'"),
    ("dict", {**PARTS, "extra": 1}, r"must have the keys .*: it has no place for the key 'extra'"),
    ("dict", np.zeros(3), r"must be a mapping with the keys \['arm', 'doors', 'gear'\], got array"),
    ("dict", {**PARTS, "arm": np.zeros(4)}, r"\['arm'\] must have the shape \(3,\), got \(4,\)"),
    ("dict", {**PARTS, "arm": np.array([0, np.nan, 0])}, r"\['arm'\] must be finite in single precision, got .* nan"),
    ("dict", {**PARTS, "arm": None}, r"\['arm'\] must be an array of numbers, got None"),
    ("dict", {**PARTS, "gear": 3}, r"\['gear'\] must be one of Discrete\(3\), got 3"),
    ("dict", {**PARTS, "gear": 1.5}, r"\['gear'\] must be one of Discrete\(3\), got 1.5"),
    ("dict", {**PARTS, "doors": [0, 2]}, r"\['doors'\] must be one of MultiBinary\(2\), got \[0, 2\]"),
    ("tuple", (np.zeros(2, np.int64),), r"must be a tuple of 2 parts, got \(array"),
    ("tuple", ([1, 3], np.zeros(3)), r"\[0\] must be one of MultiDiscrete\(\[2 3\]\), got \[1, 3\]"),
    ("tuple", ([1, 2], np.full(3, np.inf)), r"\[1\] must be finite in single precision, got .*inf"),
    ("image", np.zeros((3, 16, 18), np.uint8), r"must have the shape \(16, 18, 3\), got \(3, 16, 18\)"),
    ("image", np.zeros((1, 16, 18, 3), np.uint8), r"must have the shape \(16, 18, 3\), got \(1, 16, 18, 3\)"),
]


@pytest.mark.parametrize(("name", "wrong", "message"), WRONG)
def test_a_session_refuses_an_observation_that_is_not_of_the_space_and_keeps_its_belief(name, wrong, message):
    model = model_of(name, "discrete")
    session = model.session(seed=0)
    right, before = batch(model.observation_space, 1)[1][0], session.memory
    with pytest.raises(ValueError, match=f"^observation ?{message}"):
        session.act(wrong)
    with pytest.raises(ValueError, match=f"^observation ?{message}"):
        session.observe(wrong, 2, 0.0, right, False, False)
    with pytest.raises(ValueError, match=f"^next_observation ?{message}"):
        session.observe(right, 2, 0.0, wrong, False, False)
    assert session.memory is before


@pytest.mark.parametrize(
    ("name", "wrong", "message"), [case for case in WRONG if case[0] in ("discrete", "dict", "tuple")]
)
def test_predict_refuses_one_observation_that_is_not_of_the_space(name, wrong, message):
    with pytest.raises(ValueError, match=f"^observation ?{message}"):
        model_of(name, "discrete").predict(wrong)


def of_other_types(observation):
    """The same numbers in double precision, as lists, and past a Box's bounds by a little."""
    if isinstance(observation, dict):
        return {name: of_other_types(part) for name, part in observation.items()}
    if isinstance(observation, tuple):
        return [of_other_types(part) for part in observation]
    array = np.asarray(observation)
    return array.astype(np.float64) + 9.001 if array.dtype == np.float32 else array.astype(np.float64)


@pytest.mark.parametrize("name", ["vector", "matrix", "discrete", "dict", "tuple"])
def test_numbers_of_any_type_and_a_little_past_their_bounds_are_read_as_in_training(name):
    model = model_of(name, "discrete")
    session = model.session(seed=0)
    together, single = batch(model.observation_space, 2)
    other = [of_other_types(observation) for observation in single]
    for one in other:
        action = session.act(one)
        session.observe(one, action, np.float32(0.5), other[0], np.False_, np.bool_(one is other[-1]))
    assert model.action_space.contains(model.predict(other[0], deterministic=True)[0])
    rows = model.predict(of_other_types(together), deterministic=True)[0]
    alone = [model.predict(one, deterministic=True)[0] for one in other]
    assert np.array_equal(rows, alone)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (
            "dict",
            {"arm": np.zeros((2, 3)), "gear": np.zeros(3), "doors": np.zeros((2, 2))},
            r"\['gear'\] has 3 rows, obs",
        ),
        (
            "dict",
            {"arm": np.zeros((2, 4)), "gear": [0, 0], "doors": np.zeros((2, 2))},
            r"\['arm'\] must have the shape",
        ),
        (
            "dict",
            {"arm": np.zeros((2, 3)), "gear": [0, 3], "doors": np.zeros((2, 2))},
            r"\['gear'\] must be one of .*got",
        ),
        ("dict", {"arm": np.zeros((2, 3)), "gear": [0, 0]}, r" must have the keys .* lacks the key 'doors'"),
        ("dict", {"arm": np.full((2, 3), np.nan), "gear": [0, 0], "doors": np.zeros((2, 2))}, r"\['arm'\] must be fin"),
        ("tuple", (np.zeros((2, 2)), np.zeros((3, 3))), r"\[1\] has 3 rows, observation\[0\] has 2"),
        ("discrete", np.array([0, 4]), r" must be one of Discrete\(7, start=-3\), got np.int64\(4\)"),
    ],
)
def test_predict_names_the_part_of_a_batch_that_is_at_fault(name, wrong, message):
    with pytest.raises(ValueError, match=f"^observation{message}"):
        model_of(name, "discrete").predict(wrong)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("discrete", [2], r"^action must have the shape \(\), got \(1,\)"),
        ("multi-discrete", [1], r"^action must have the shape \(2,\), got \(1,\)"),
        ("matrix", np.zeros(4), r"^action must have the shape \(2, 2\), got \(4,\)"),
        ("matrix", np.full((2, 2), np.nan), "^action must be finite"),
        ("discrete", 1, "^action must"),
        ("discrete", 2.5, "^action must"),
        ("multi-discrete", [4, 0], "^action must"),
        ("multi-binary", [2, 0], "^action must"),
        ("matrix", np.full((2, 2), 1.1), r"(?s)^action must lie in Box\(-1.0, 1.0.*environment carried out"),
        ("matrix", np.full((2, 2), -np.inf), "^action must be finite"),
    ],
)
def test_a_session_refuses_an_action_that_is_not_of_the_space_and_keeps_its_belief(name, wrong, message):
    session = model_of("vector", name).session(seed=0)
    before = session.memory
    with pytest.raises(ValueError, match=message):
        session.observe(np.zeros(3), wrong, 0.0, np.zeros(3), False, False)
    assert session.memory is before


@pytest.mark.parametrize("wrong", [0.5, np.nan, 300.0, -1.0])
def test_an_image_of_other_values_than_bytes_is_refused_and_not_rounded(wrong):
    model = model_of("image", "discrete")
    with pytest.raises(ValueError, match=r"^observation must"):
        model.session(seed=0).act(np.full(IMAGES.shape, wrong))
    with pytest.raises(ValueError, match=r"^observation must"):
        model.predict(np.full((2, *IMAGES.shape), wrong))


@pytest.mark.parametrize("name", [name for name, space in OBSERVATIONS.items() if is_image(space)])
def test_pictures_of_every_layout_are_kept_as_bytes(name):
    model = model_of(name, "discrete").learn(60)
    held = model.training.replay.tensors()
    assert held["images"].dtype == torch.uint8
    assert held["images"].shape[2:] == (2, math.prod(OBSERVATIONS[name].shape))
    assert model.session(seed=0).act(OBSERVATIONS[name].sample()).shape == ()


@pytest.mark.parametrize("algorithm", sorted(CONFIGS.keys() - {"pearl", "oracle_sac"}))  # which tells, and has no room
def test_every_algorithm_learns_from_stacks_of_frames(algorithm):
    reading = ObservationsConfig(normalise=False, image_channels=(3,), image_features=4)
    config = replace(CONFIGS[algorithm], agent=replace(CONFIGS[algorithm].agent, observations=reading))
    model = learner_of(config)(Samplers(OBSERVATIONS["stack of frames"], ACTIONS["matrix"]), config, seed=0)
    assert model.learn(60).training.gradient_steps > 0
    agent: Any = model.agent
    assert agent.features.network[0].in_channels == 2 * 3
    assert np.isfinite(model.evaluate().returns).all()


def test_a_family_of_small_grids_may_be_normalised_and_told():
    family = Samplers(OBSERVATIONS["grid of bytes"], ACTIONS["discrete"])
    model = small_model(family, agent={"hidden_sizes": (8,), "observations": {"normalise": True}}).learn(60)
    assert model.agent.features.dim == 7 * 7 * 3
    assert task_observed(family).make_env(Task({"number": 0.5})).observation_space.shape == (7 * 7 * 3 + 1,)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((2, 3, 1))])
def test_predict_refuses_a_batch_of_another_form(wrong):
    with pytest.raises(ValueError, match=r"observation must have the shape \(3,\)"):
        model_of("vector", "discrete").predict(wrong)


def test_a_cartpole_policy_is_adapted_and_evaluated_by_stable_baselines3():
    model = small_model("varying-cartpole")
    tasks = model.task_distribution.sample(2, np.random.default_rng(0))
    policy = model.adapt(model.task_distribution.make_env(tasks[0]), episodes=2, seed=0)
    assert policy.trial.terminated.sum() == 2
    action, _ = policy.predict(np.zeros(4, np.float32), deterministic=True)
    assert model.action_space.contains(action)
    mean, deviation = evaluate_policy(
        policy, DummyVecEnv([lambda: model.task_distribution.make_env(tasks[0])]), 3, warn=False
    )
    assert 1 <= mean <= 500
    assert np.isfinite(deviation)
