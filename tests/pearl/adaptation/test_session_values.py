"""The values that a session takes and refuses: a value of another form changes neither the belief nor the draws."""

import numpy as np
import pytest
import torch

from pearl import NonFiniteError
from tests.support.sessions import (
    observe_at_random,
)

TRANSITION = {
    "observation": np.zeros(2),
    "action": np.zeros(2),
    "reward": 0.0,
    "next_observation": np.zeros(2),
    "terminated": False,
    "truncated": True,
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["observation", "action", "reward", "next_observation"])
def test_a_value_that_is_not_finite_is_refused_and_the_belief_stays(model, name, value):
    session = model.session(seed=0)
    observe_at_random(session, 3)
    before = session.memory
    given = value if name == "reward" else np.array([0.0, value])
    with pytest.raises(NonFiniteError, match=f"^{name} must be finite"):
        session.observe(**TRANSITION | {name: given})
    assert session.memory is before


def test_numbers_whose_squares_overflow_are_finite_all_the_same(model):
    session = model.session(seed=0)
    huge = np.full(2, 1e30, np.float32)
    session.observe(huge, np.zeros(2), -1e30, -huge, False, False)
    session.act(huge)
    assert torch.isfinite(session.posterior.mean).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "terminated",
            np.array([False, False]),
            r"must be True or False, got array\(\[False, False\]\).*terminated\[i\]",
        ),
        (
            "truncated",
            np.array([False, False]),
            r"must be True or False, got array\(\[False, False\]\).*truncated\[i\]",
        ),
        ("truncated", np.array([True]), "must be True or False"),
        ("truncated", None, "must be True or False, got None"),
        ("truncated", 2, "must be True or False, got 2"),
        ("truncated", 1.0, "must be True or False, got 1.0"),
        ("terminated", "no", "must be True or False, got 'no'"),
        ("reward", np.array([1.0]), r"must be one real number, got array\(\[1\.\]\).*reward\[i\]"),
        ("reward", "1.5", "must be one real number, got '1.5'"),
        ("reward", None, "must be one real number, got None"),
        ("reward", 1j, "must be one real number, got 1j"),
        ("reward", True, "must be one real number, got True"),
        ("reward", 1e39, r"must be finite in single precision, got 1e\+39"),
        ("reward", 10**400, "must be finite in single precision, got 1000"),
        ("reward", np.float64("nan"), "must be finite in single precision, got nan"),
        ("action", np.array([0.0, 1.01]), r"must lie in Box\(-1.0, 1.0, \(2,\), float32\), got array"),
        ("action", np.array([0.5 + 0.5j, 0.0]), "must be an array of numbers"),
        ("action", np.array(["0.5", "0"]), "must be an array of numbers"),
        ("action", [True, False], "must be an array of numbers"),
        ("action", torch.zeros(2, requires_grad=True), "must be an array of numbers"),
        ("action", np.ma.masked_array([0.5, 0.5], [True, False]), "must be an array of numbers"),
        ("observation", np.ma.masked_array([0.5, 0.5], [True, False]), "must be an array of numbers"),
        ("observation", torch.zeros(2, requires_grad=True), "must be an array of numbers"),
        ("reward", torch.zeros((), requires_grad=True), "must be one real number"),
        ("observation", np.array(["a", "b"]), "must be an array of numbers"),
        ("next_observation", None, "must be an array of numbers, got None"),
    ],
)
def test_a_value_of_another_form_is_refused_and_neither_belief_nor_draws_change(model, name, value, message):
    session = model.session(seed=0)
    observe_at_random(session, 3)
    before, draws = session.memory, session._rng.get_state()
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        session.observe(**TRANSITION | {name: value})
    assert session.memory is before
    assert torch.equal(session._rng.get_state(), draws)


@pytest.mark.parametrize("yes", [True, np.True_, np.array(True), 1, np.int64(1)])
@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_one_truth_value_of_any_type_ends_an_episode(model, flag, yes):
    session = model.session(seed=0)
    no = type(yes)(0) if not isinstance(yes, np.ndarray) else np.array(False)
    session.observe(**TRANSITION | {"terminated": no, "truncated": no})
    first = session.memory.z
    session.observe(**TRANSITION | {"terminated": no, "truncated": no, flag: yes})
    assert not torch.equal(session.memory.z, first)


@pytest.mark.parametrize("reward", [1, np.float32(1), np.float64(1), np.int8(1), np.array(1.0), torch.tensor(1.0)])
def test_one_real_number_of_any_type_is_a_reward(model, reward):
    session = model.session(seed=0, follow=False)
    session.observe(**TRANSITION | {"reward": reward, "truncated": False})
    assert session.memory.unread[0].reward.tolist() == [1.0]


def test_an_action_may_pass_its_bounds_by_rounding(model):
    session = model.session(seed=0)
    session.observe(**TRANSITION | {"action": np.array([1.0 + 1e-6, -1.0 - 1e-6])})
    assert session.memory.steps == 0


def test_what_fails_at_an_episodes_end_leaves_the_belief_and_the_draws(model, monkeypatch):
    session = model.session(seed=0)
    observe_at_random(session, 3)

    def failing(memory, ended, rng):
        torch.rand(3, generator=rng)
        raise KeyboardInterrupt

    before, draws = session.memory, session._rng.get_state()
    monkeypatch.setattr(session.agent, "end_episode", failing)
    with pytest.raises(KeyboardInterrupt):
        session.observe(**TRANSITION)
    assert session.memory is before
    assert torch.equal(session._rng.get_state(), draws)


@pytest.mark.parametrize("observation", [np.zeros(3), np.zeros((2, 2)), np.zeros((1, 1, 2)), 0.0, np.full(2, np.nan)])
def test_a_session_acts_on_one_finite_observation_of_the_right_width(model, observation):
    session = model.session(seed=0)
    with pytest.raises(ValueError, match="observation must"):
        session.act(observation)
    with pytest.raises(ValueError, match="observation must"):
        session.observe(observation, np.zeros(2), 0.0, np.zeros(2), False, False)
    with pytest.raises(ValueError, match="action must"):
        session.observe(np.zeros(2), np.zeros(3), 0.0, np.zeros(2), False, False)


def test_an_action_that_is_overwritten_later_was_observed_as_it_was(model):
    session, other = model.session(seed=0), model.session(seed=0)
    observation, action = np.zeros(2, np.float32), np.full(2, 0.05, np.float32)
    for played in (session, other):
        given = action.copy()
        played.observe(observation, given, -1.0, observation, False, False)
        given[:] = 0.1 if played is session else action
    assert torch.equal(session.posterior.mean, other.posterior.mean)
