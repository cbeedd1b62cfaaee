"""Observations are normalised by what meta-training collected, and by nothing else, wherever the agent goes."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import pearl
from pearl import PEARL
from tests.support.small import Counting, CountingEnv, differences, everything_learnt, small_model


@pytest.fixture
def model():
    """A model that has seen two iterations: random episodes, then its own."""
    model = small_model(agent={"observations": {"normalise": True}})
    model.learn(20)
    return model


def statistics(model):
    return {name: value.clone() for name, value in model.agent.features.state_dict().items()}


def all_observations(model):
    """Every observation in the replay, which has lost none, (row, 3)."""
    replay = model.training.replay
    rows = []
    for task, n in enumerate(replay.n_added.tolist()):
        assert n <= replay.capacity
        rows.append(replay.rows(torch.tensor([task]), torch.arange(n)[None]).observation[0])
    return torch.cat(rows).double()


def test_meta_training_normalises_by_everything_that_it_collected(model):
    found, rows = statistics(model), all_observations(model)
    assert found["count"] == len(rows) == model.num_timesteps > 16
    np.testing.assert_allclose(found["mean"].numpy(), rows.numpy().mean(0), rtol=1e-9)
    np.testing.assert_allclose(found["variance"].numpy(), rows.numpy().var(0), rtol=1e-9)


def test_a_model_that_does_not_normalise_reads_observations_as_they_are_after_training_too():
    model = small_model(agent={"observations": {"normalise": False}})
    model.learn(20)
    rows = torch.randn(5, model.agent.observation_dim)
    assert statistics(model) == {}
    assert torch.equal(model.agent.features(rows), rows)


def test_every_iteration_moves_the_statistics(model):
    before = statistics(model)
    model.training.iterate()
    after = statistics(model)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_evaluating_and_adapting_leave_the_statistics_as_they_are(model):
    before = statistics(model)
    model.evaluate()
    policy = model.adapt(CountingEnv(50.0), episodes=2, seed=0)
    policy.predict(np.full((4, 3), 1e3, np.float32), None, np.ones(4, bool))
    session = model.session(seed=0)
    observation = np.full(3, 1e3, np.float32)
    session.act(observation)
    session.observe(observation, np.zeros(2), 1.0, observation, False, True)
    model.predict(observation)
    assert differences(statistics(model), before) == []


def test_what_the_agent_reads_in_adaptation_is_normalised(model):
    session, agent = model.session(seed=0), model.agent
    found = session.act(np.array([0.5, 1.0, 3.0], np.float32), deterministic=True)
    rows = all_observations(model)
    normalised = (torch.tensor([0.5, 1.0, 3.0]) - rows.mean(0)) / rows.std(0, correction=0)
    with torch.no_grad():
        expected = agent.actions.decode(agent.actor(normalised.float()[None], session.memory.z_mean).mode)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_loaded_model_normalises_and_goes_on_bit_for_bit_as_the_saved_one(model, tmp_path):
    model.save(tmp_path / "saved")
    loaded = pearl.load(tmp_path / "saved", distribution=Counting())
    assert isinstance(loaded, PEARL)
    assert loaded.config.agent.observations.normalise
    assert differences(statistics(loaded), statistics(model)) == []
    for each in (model, loaded):
        each.training.iterate()
    assert differences(dict(loaded.agent.state_dict()), dict(model.agent.state_dict())) == []


def test_a_model_saved_without_its_training_state_still_normalises(model, tmp_path):
    model.save(tmp_path / "saved", training_state=False)
    assert differences(statistics(pearl.load(tmp_path / "saved", distribution=Counting())), statistics(model)) == []


def test_without_the_setting_nothing_is_kept_of_what_was_seen():
    model = small_model(agent={"observations": {"normalise": False}})
    model.learn(20)
    assert statistics(model) == {}


def test_images_are_read_as_they_are_whatever_the_setting():
    class Pictures(Counting):
        def make_env(self, task, *, render_mode=None):
            env = super().make_env(task)
            space = gym.spaces.Box(0, 255, (16, 16, 1), np.uint8)
            return gym.wrappers.TransformObservation(env, lambda _: np.zeros(space.shape, np.uint8), space)

    with_it, without = (
        everything_learnt(small_model(Pictures(), agent={"observations": {"normalise": normalise}}).learn(20))
        for normalise in (True, False)
    )
    assert differences(with_it, without) == []
