"""Adaptation takes no gradient, costs the same at every step, and ends in the same belief by hand and by ``adapt``."""

import io
import statistics
import time
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.context.memory import MAX_UNREAD
from pearl import Task
from pearl.tasks.families.point_robot_env import EPISODE_STEPS, PointRobotEnv
from tests.support.sessions import (
    GOAL,
    observe_at_random,
    play_by_hand,
    same,
    tensors,
)
from tests.support.small import HORIZON, CountingEnv, small_model


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
    early, late = model.session(seed=0), model.session(seed=0)
    observation = np.zeros(2, np.float32)

    def cost(session):
        begun = time.perf_counter()
        action = session.act(observation)
        session.observe(observation, action, -1.0, observation, False, False)
        return time.perf_counter() - begun

    def size(session):
        with io.BytesIO() as file:
            torch.save(session.memory, file)
            return file.tell()

    observe_at_random(late, 10_000 // MAX_UNREAD * MAX_UNREAD)  # as much is unread as in the early session
    for _ in range(10):
        cost(early), cost(late)
    costs = [(cost(early), cost(late)) for _ in range(200)]  # in turn, so that other load falls on both
    early_cost, late_cost = map(statistics.median, zip(*costs, strict=True))
    assert size(late) <= size(early)
    assert late_cost < 2 * early_cost


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


def test_a_policy_does_not_read_the_trial_anew_at_each_prediction(model):
    session = model.session(seed=0, follow=False)
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


def test_z_follows_the_posterior_from_the_first_step_on(model):
    session = model.session(seed=0)
    first = session.memory.z
    observe_at_random(session, 1)
    assert not torch.equal(session.memory.z, first)
    assert torch.equal(session.memory.z_mean[0], session.posterior.mean)


def test_a_trial_follows_the_posterior_unless_told_otherwise(model, env):
    follows, stays = (model.adapt(env, episodes=1, seed=3, follow=follow) for follow in (True, False))
    assert np.array_equal(follows.trial.action[:, 0], stays.trial.action[:, 0])
    assert not np.array_equal(follows.trial.action[:, 1:], stays.trial.action[:, 1:])
    assert np.array_equal(model.adapt(env, episodes=1, seed=3).trial.action, follows.trial.action)


def test_as_in_the_paper_z_is_drawn_at_an_episodes_end_and_not_before(model):
    session = model.session(seed=0, follow=False)
    first = session.memory.z
    observe_at_random(session, 5)
    assert torch.equal(session.memory.z, first)
    zero = np.zeros(2)
    session.observe(zero, zero, 0.0, zero, terminated=False, truncated=True)
    assert not torch.equal(session.memory.z, first)
    assert torch.equal(session.memory.z_mean[0], session.posterior.mean)


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
    policy = model.adapt(model.task_distribution.make_env(Task({"goal": list(GOAL)})), episodes=2)
    assert policy.posterior.mean.shape == policy.posterior.stddev.shape == (model.agent.latent_dim,)
    assert policy.trial.n_transitions == 2 * EPISODE_STEPS
