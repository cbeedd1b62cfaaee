"""Adaptation takes no gradient, costs the same at every step, and ends in the same belief by hand and by ``adapt``."""

import io
import statistics
import time
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.pearl import READ_TOGETHER
from pearl import NonFiniteError, Task
from pearl.tasks.families.point_robot_env import EPISODE_STEPS, PointRobotEnv
from tests.pearl.sessions import (
    GOAL,
    observe_at_random,
    play_by_hand,
    point_robot_env,  # noqa: F401  (the fixture "env")
    point_robot_model,  # noqa: F401  (the fixture "model")
    same,
    tensors,
)
from tests.pearl.small import HORIZON, CountingEnv, small_model


@pytest.mark.parametrize(
    "kind", ["linear_gaussian", "product_of_gaussians", "pooled_features", "mean", "gru", "attention"]
)
def test_adapting_takes_no_gradient_and_leaves_the_weights_as_they_are(kind, env):
    model = small_model("point-robot", encoder={"kind": kind})
    before = {name: tensor.clone() for name, tensor in model.agent.state_dict().items()}
    with torch.enable_grad():
        policy = model.adapt(env, episodes=2, seed=0)
        session = model.session(seed=0)
        play_by_hand(session, env, episodes=1, seed=0)
        drawn = [policy.posterior.mean, policy.posterior.stddev, session.posterior.mean, session.posterior.stddev]
    after = model.agent.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert all(parameter.grad is None for parameter in model.agent.parameters())
    held = [*tensors(policy.memory), *tensors(session.memory), *drawn]
    assert [tensor for tensor in held if tensor.requires_grad or tensor.grad_fn is not None] == []


def test_an_agent_adapts_alike_whatever_the_callers_gradient_mode_is(model, env):
    with torch.no_grad():
        without = model.adapt(env, episodes=1, seed=3)
    with torch.enable_grad():
        with_gradients = model.adapt(env, episodes=1, seed=3)
    assert same(without.memory, with_gradients.memory)


def test_a_step_costs_the_same_at_step_10_and_at_step_10_000(model):
    session = model.session(seed=0)
    observation = np.zeros(2, np.float32)

    def median_cost(n):
        costs = []
        for _ in range(n):
            begun = time.perf_counter()
            action = session.act(observation)
            session.observe(observation, action, -1.0, observation, False, False)
            costs.append(time.perf_counter() - begun)
        return statistics.median(costs)

    def size():
        with io.BytesIO() as file:
            torch.save(session.memory, file)
            return file.tell()

    median_cost(10)
    early, small = median_cost(200), size()
    observe_at_random(session, 10_000 // READ_TOGETHER * READ_TOGETHER - 200)  # as much is unread as before
    late, large = median_cost(200), size()
    assert large <= small
    assert late < 2 * early


def test_a_session_equals_adapt_for_the_same_seed_and_environment(model, env):
    policy = model.adapt(env, episodes=3, seed=7)
    session = model.session(seed=7)
    play_by_hand(session, env, episodes=3, seed=7)
    assert same(session.memory, policy.memory)
    assert torch.equal(session.posterior.mean, policy.posterior.mean)
    assert torch.equal(session.posterior.stddev, policy.posterior.stddev)


def test_the_seed_decides_a_trial_and_without_one_trials_differ(model, env):
    one, other, later = (model.adapt(env, episodes=1, seed=seed).trial for seed in (0, 0, 1))
    assert np.array_equal(one.action, other.action)
    assert not np.array_equal(one.action, later.action)
    assert not np.array_equal(*(model.adapt(env, episodes=1).trial.action for _ in range(2)))


def test_adapting_to_b_after_a_equals_adapting_to_b_fresh(model, env):
    fresh = model.adapt(env, episodes=2, seed=5)
    model.adapt(gym.wrappers.TimeLimit(PointRobotEnv((-1.0, 1.0)), EPISODE_STEPS), episodes=2, seed=1)
    assert same(model.adapt(env, episodes=2, seed=5).memory, fresh.memory)


@pytest.mark.parametrize("kind", ["linear_gaussian", "product_of_gaussians"])
def test_the_posterior_shrinks_with_context(kind):
    session = small_model("point-robot", encoder={"kind": kind}).session(seed=0)
    stddev = [session.posterior.stddev]
    for seed in range(4):
        observe_at_random(session, 10, seed=seed)
        stddev.append(session.posterior.stddev)
    assert stddev[0] == pytest.approx(1.0)
    for wide, narrow in pairwise(stddev):
        assert (narrow < wide).all()


def test_an_action_that_is_overwritten_later_was_observed_as_it_was(model):
    session, other = model.session(seed=0), model.session(seed=0)
    observation, action = np.zeros(2, np.float32), np.full(2, 0.05, np.float32)
    for played in (session, other):
        given = action.copy()
        played.observe(observation, given, -1.0, observation, False, False)
        given[:] = 0.1 if played is session else action
    assert torch.equal(session.posterior.mean, other.posterior.mean)


def test_a_policy_does_not_read_the_trial_anew_at_each_prediction(model):
    session = model.session(seed=0)
    observe_at_random(session, 3, seed=0)
    policy = session.policy()
    assert session.memory.unread
    assert not policy.memory.unread
    assert torch.equal(policy.posterior.mean, session.posterior.mean)


def test_transitions_of_a_foreign_policy_can_be_observed(model):
    session = model.session(seed=0)
    observe_at_random(session, 20)
    assert (session.posterior.mean != 0).all()
    action = session.act(np.zeros(2))
    assert action.shape == (2,)


def test_z_is_drawn_at_an_episodes_end_and_not_before(model):
    session = model.session(seed=0)
    first = session.memory.z
    observe_at_random(session, 5)
    assert torch.equal(session.memory.z, first)
    zero = np.zeros(2)
    session.observe(zero, zero, 0.0, zero, terminated=False, truncated=True)
    assert not torch.equal(session.memory.z, first)
    assert torch.equal(session.memory.z_mean[0], session.posterior.mean)


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
    session = model.session(seed=0)
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


def test_a_sessions_policy_is_not_affected_by_later_observations(model):
    session = model.session(seed=0)
    observe_at_random(session, 5)
    policy = session.policy()
    mean, (action, _) = policy.posterior.mean, policy.predict(np.zeros(2), deterministic=True)
    observe_at_random(session, 5, seed=1)
    zero = np.zeros(2)
    session.observe(zero, zero, 0.0, zero, terminated=True, truncated=False)
    assert torch.equal(policy.posterior.mean, mean)
    assert np.array_equal(policy.predict(np.zeros(2), deterministic=True)[0], action)


def test_an_environment_with_other_spaces_is_refused_by_name(model):
    with pytest.raises(ValueError, match=r"observation space is Box\(.*\(3,\).* trained on Box\(.*\(2,\)"):
        model.adapt(gym.wrappers.TimeLimit(CountingEnv(), HORIZON))
    wider = PointRobotEnv(GOAL)
    wider.action_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    with pytest.raises(ValueError, match=r"action space is Box\(-2.*trained on Box\(-1.*'point-robot'"):
        model.adapt(wider)


def test_adapting_takes_at_least_one_episode(model, env):
    with pytest.raises(ValueError, match=r"at least 1, got 0.*session"):
        model.adapt(env, episodes=0)


def test_an_environment_without_a_time_limit_gets_the_familys():
    model = small_model()
    trial = model.adapt(CountingEnv(0.3, ending="never"), episodes=2).trial
    assert trial.mask.sum() == 2 * HORIZON
    assert trial.truncated[0].nonzero()[0].tolist() == [HORIZON - 1, 2 * HORIZON - 1]


def test_an_environments_own_time_limit_counts():
    trial = small_model().adapt(gym.wrappers.TimeLimit(CountingEnv(0.3, ending="never"), 3), episodes=2).trial
    assert trial.mask.sum() == 6


def test_what_an_environment_raises_in_adaptation_reaches_the_caller_as_it_is():
    env = CountingEnv(0.5)
    env.step = lambda action: (_ for _ in ()).throw(KeyError("robot stopped"))
    with pytest.raises(KeyError, match="robot stopped"):
        small_model().adapt(env)


def test_a_trial_is_kept_with_the_policy():
    trial = small_model().adapt(CountingEnv(0.5), episodes=3).trial
    assert trial.episode_returns(3) == pytest.approx(np.full((1, 3), 4 * 0.5 + 1.0))


def test_the_environment_is_left_open():
    env = CountingEnv(0.5)
    small_model().adapt(env)
    assert not env.closed
    env.reset()
    env.step(np.zeros(2))


def test_deterministic_exploration_does_not_depend_on_the_draws(model):
    def played(seed, **options):
        env = gym.wrappers.TimeLimit(PointRobotEnv(GOAL, sparse=True), EPISODE_STEPS)
        return model.adapt(env, episodes=2, seed=seed, **options).trial.action[0].reshape(2, EPISODE_STEPS, 2)

    assert np.array_equal(played(0, exploration_episodes=0), played(1, exploration_episodes=0))
    assert not np.array_equal(played(0), played(1))


def test_adapting_to_a_tasks_environment_of_the_family(model):
    policy = model.adapt(model.tasks.make_env(Task({"goal": list(GOAL)})), episodes=2)
    assert policy.posterior.mean.shape == policy.posterior.stddev.shape == (model.agent.latent_dim,)
    assert policy.trial.n_transitions == 2 * EPISODE_STEPS
