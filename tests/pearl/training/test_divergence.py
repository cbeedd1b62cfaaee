"""Learning that diverges says what to change, and the change helps."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from pearl import DivergedError, NonFiniteError
from tests.support.small import Counting, small_model

STEPS = 16 + 3 * 32


class Scaled(Counting):
    """Counting tasks whose observations and rewards are in other units; a training reward where it has a factor."""

    def __init__(self, observation=1.0, reward=1.0, training_reward=None):
        super().__init__()
        self.observation, self.reward, self.training_reward = observation, reward, training_reward

    def make_env(self, task, *, render_mode=None):
        env = super().make_env(task)
        space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        env = gym.wrappers.TransformObservation(env, lambda seen: self.observation * seen.astype(np.float64), space)
        return Paid(env, self.reward, self.training_reward)


class Paid(gym.Wrapper):
    """Pays in other units."""

    def __init__(self, env, reward, training_reward):
        super().__init__(env)
        self.factors = reward, training_reward

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.factors[1] is not None:
            info = {"training_reward": self.factors[1] * reward}
        return observation, self.factors[0] * reward, terminated, truncated, info


SCALAR = {"reward_scale": 1.0, "observations": {"normalise": False}}
"""Critics of scalar values, and observations as they are"""


def advice(model):
    with pytest.raises(DivergedError) as raised:
        model.learn(STEPS)
    return str(raised.value).partition("is not finite. ")[2]


def test_far_observations_are_named_with_normalising_which_helps():
    family = Scaled(observation=1e20)
    said = advice(small_model(family, agent=SCALAR))
    assert said.startswith("Observations reach ")
    assert "agent.observations.normalise to true" in said
    assert "learning_rate" not in said
    assert "Rewards" not in said
    model = small_model(family, agent=SCALAR | {"observations": {"normalise": True}}).learn(STEPS)
    assert np.isfinite(model.evaluate().returns).all()


@pytest.mark.parametrize("which", ["reward", "training_reward"])
def test_far_rewards_are_named_with_scaling(which):
    said = advice(small_model(Scaled(**{which: 1e25}), agent=SCALAR))
    assert said.startswith("Rewards reach ")
    assert "in make_env" in said
    assert "learning_rate" not in said
    assert "Observations" not in said


def test_a_large_scale_of_rewards_is_named():
    said = advice(small_model(agent={"reward_scale": 1e30}))
    assert said.startswith("Rewards times agent.reward_scale reach ")
    assert "lower agent.reward_scale" in said


def test_both_are_named_where_both_are_far():
    said = advice(small_model(Scaled(observation=1e20, reward=1e25), agent=SCALAR))
    assert "Observations reach" in said
    assert "Rewards reach" in said


@pytest.mark.parametrize("which", ["reward", "training_reward"])
def test_in_running_units_far_observations_and_rewards_are_learnt(which):
    model = small_model(Scaled(observation=1e20, **{which: 1e25})).learn(STEPS)
    assert all(bool(weights.isfinite().all()) for weights in model.agent.parameters())
    assert np.isfinite(model.evaluate().returns).all()


def test_in_running_units_far_observations_that_are_not_normalised_are_named_and_rewards_are_not():
    far = Scaled(observation=1e20, reward=1e25)
    said = advice(small_model(far, agent={"observations": {"normalise": False}}))
    assert said.startswith("Observations reach ")
    assert "Rewards" not in said


def test_where_units_are_sound_the_learning_rate_is_named():
    model = small_model().learn(16)
    with torch.no_grad():
        next(model.agent.critics.parameters()).fill_(float("nan"))  # They do not act.
    assert advice(model) == "Lower agent.learning_rate and start anew."


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("which", ["observation", "reward", "training_reward"])
def test_numbers_beyond_float32_are_named_when_they_are_returned(which):
    with pytest.raises(NonFiniteError) as raised:
        small_model(Scaled(**{which: 1e39})).learn(STEPS)
    assert f"returned {which} " in str(raised.value)
    assert "inf" in str(raised.value)
    assert "must be finite in float32, which ends at 3.4e+38; scale them" in str(raised.value)
