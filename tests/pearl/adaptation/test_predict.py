"""``predict`` is a policy that others can call: it learns nothing, and draws z where an episode starts."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from pearl.tasks.families.point_robot_env import EPISODE_STEPS, PointRobotEnv
from tests.support.sessions import (
    GOAL,
    observe_at_random,
    same,
)
from tests.support.small import LENGTH, CountingEnv, small_model


def test_predict_takes_one_observation_or_rows_of_them(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    single, state = policy.predict(np.zeros(2), deterministic=True)
    rows, _ = policy.predict(np.zeros((3, 2)), deterministic=True)
    assert single.shape == (2,)
    assert rows.shape == (3, 2)
    assert rows == pytest.approx(np.tile(single, (3, 1)), abs=1e-6)
    assert state is None
    assert model.action_space.contains(single)


def test_predict_is_deterministic_where_asked_to_be_and_samples_otherwise(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    assert np.array_equal(*(policy.predict(np.zeros(2), deterministic=True)[0] for _ in range(2)))
    assert not np.array_equal(*(policy.predict(np.zeros(2))[0] for _ in range(2)))


def test_predict_changes_neither_belief_nor_memory(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    before = policy.memory
    _, state = policy.predict(np.zeros((2, 2)), None, np.ones(2, bool))
    policy.predict(np.zeros((2, 2)), state, np.array([True, False]))
    assert policy.memory is before


def test_an_episodes_start_draws_z_anew_in_its_row_alone(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    _, first = policy.predict(np.zeros((2, 2)), None, np.ones(2, bool))
    _, second = policy.predict(np.zeros((2, 2)), first, np.zeros(2, bool))
    _, third = policy.predict(np.zeros((2, 2)), second, np.array([False, True]))
    assert torch.equal(first.z, second.z)
    assert torch.equal(second.z[0], third.z[0])
    assert not torch.equal(second.z[1], third.z[1])


def test_rows_draw_their_zs_apart(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    _, state = policy.predict(np.zeros((2, 2)), None, np.ones(2, bool))
    assert not torch.equal(state.z[0], state.z[1])


def test_each_evaluation_draws_its_own_zs(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    one, other = (policy.predict(np.zeros(2), None, np.ones(1, bool))[1] for _ in range(2))
    assert not torch.equal(one.z, other.z)


def test_a_state_that_was_given_is_carried_on(model, env):
    policy = model.adapt(env, episodes=1, seed=0)
    _, state = policy.predict(np.zeros((2, 2)), None, np.ones(2, bool))
    _, carried = policy.predict(np.zeros((2, 2)), state)
    assert same(carried, state)


def test_predict_draws_z_from_the_posterior(model):
    session = model.session(seed=0)
    observe_at_random(session, 3)
    policy = session.policy()
    zs = torch.cat([policy.predict(np.zeros((1, 2)), None, np.ones(1, bool))[1].z for _ in range(400)])
    assert (zs.mean(0) - policy.posterior.mean).abs().numpy() == pytest.approx(0, abs=0.25)
    assert zs.std(0).numpy() == pytest.approx(policy.posterior.stddev.numpy(), rel=0.2)


@pytest.mark.parametrize("observation", [np.zeros(3), np.zeros((2, 3)), np.array([0.0, np.nan])])
def test_predict_refuses_other_widths_and_values_that_are_not_finite(model, env, observation):
    policy = model.adapt(env, episodes=1, seed=0)
    with pytest.raises(ValueError, match="observation must"):
        policy.predict(observation)


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("deterministic", [True, False])
def test_stable_baselines3_evaluates_an_adapted_policy(n_envs, deterministic):
    policy = small_model().adapt(CountingEnv(0.5), episodes=1)
    envs = DummyVecEnv([lambda number=number: CountingEnv(number) for number in range(n_envs)])
    returns, lengths = evaluate_policy(
        policy, envs, 2 * n_envs, deterministic=deterministic, return_episode_rewards=True, warn=False
    )
    assert sorted(returns) == pytest.approx(sorted([4 * number + 1.0 for number in range(n_envs)] * 2))
    assert lengths == [LENGTH] * 2 * n_envs


class RewardedByPlace(gym.Wrapper):
    """Starts at the origin and rewards the position reached, so that the return depends on the policy alone."""

    def __init__(self):
        super().__init__(gym.wrappers.TimeLimit(PointRobotEnv(GOAL, sparse=True), EPISODE_STEPS))

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(observation.sum()), terminated, truncated, info


def test_stable_baselines3_sees_the_return_that_the_policy_earns(model):
    policy = model.session(seed=0).policy()
    env = RewardedByPlace()
    observation, _ = env.reset()
    by_hand, truncated = 0.0, False
    while not truncated:
        action, _ = policy.predict(observation, deterministic=True)
        observation, reward, _, truncated, _ = env.step(action)
        by_hand += reward
    returns, _ = evaluate_policy(policy, DummyVecEnv([RewardedByPlace]), 1, return_episode_rewards=True, warn=False)
    assert returns == pytest.approx([by_hand], abs=1e-4)


def test_a_model_predicts_on_the_prior(model):
    action, state = model.predict(np.zeros((3, 2)), None, np.ones(3, bool), deterministic=True)
    assert action.shape == (3, 2)
    assert torch.equal(state.z_mean, torch.zeros(3, model.agent.latent_dim))
