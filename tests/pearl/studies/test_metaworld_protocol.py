"""Metaworld's evaluation meets PEARL: beliefs grow with each reported step, and none outlives its task."""

import numpy as np
import pytest
import torch

from pearl import PEARL, NonFiniteError, Task
from pearl.studies.metaworld import MetaworldAgent
from pearl.tasks.families.metaworld import ML1
from tests.support.small import small_config, small_model
from tests.support.tasks.metaworld_steps import ACTIONS, WIDTH, timesteps


def model_without_next():
    """A model whose encoder reads what Metaworld reports."""
    return small_model(encoder={"context_fields": ("observation", "action", "reward")})


def taught(agent, steps):
    for timestep in steps:
        agent.step(timestep)
    agent.adapt()
    return posterior(agent)


def posterior(agent):
    distribution = agent._agent.posterior(agent.memory)
    return torch.stack([distribution.mean, distribution.stddev])


def test_a_step_teaches_what_a_session_learns_from_it():
    model = model_without_next()
    session = model.session(seed=0)
    agent = MetaworldAgent(model)
    for timestep in timesteps(1, ends=(1,)):
        agent.step(timestep)
        session.observe(
            timestep.observation[0],
            timestep.action[0],
            timestep.reward[0],
            np.zeros(WIDTH),
            False,
            timestep.truncated[0],
        )
    torch.testing.assert_close(posterior(agent)[0, 0], session.posterior.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(posterior(agent)[1, 0], session.posterior.stddev, rtol=1e-5, atol=1e-6)


def test_no_belief_outlives_its_task():
    model = model_without_next()
    agent = MetaworldAgent(model)
    agent.init()
    taught(agent, timesteps(2, seed=1))
    agent.init()
    assert agent.memory is None
    agent.adapt_action(np.zeros((2, WIDTH)))
    prior = agent._agent.posterior(model.agent.begin(2, torch.Generator()))
    assert torch.equal(posterior(agent), torch.stack([prior.mean, prior.stddev]))
    assert torch.equal(taught(agent, timesteps(2)), taught(MetaworldAgent(model), timesteps(2)))


def test_each_environment_has_a_belief_of_its_own():
    model = model_without_next()
    steps = timesteps(2)
    others = [step._replace(reward=step.reward + np.array([0.0, 1.0])) for step in steps]
    one, other = taught(MetaworldAgent(model), steps), taught(MetaworldAgent(model), others)
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.equal(one[:, 1], other[:, 1])


def test_z_is_drawn_anew_where_an_episode_ended_and_nowhere_else():
    model = model_without_next()
    model.agent.z_moves = False
    agent = MetaworldAgent(model)
    before = agent._memory_of(3).z
    (step,) = timesteps(3, 1)
    agent.step(step._replace(truncated=np.array([False, True, False]), terminated=np.array([False, False, True])))
    assert (agent.memory.z == before).all(1).tolist() == [True, False, False]


def test_evaluation_takes_the_mean_of_what_was_learnt_and_learns_nothing():
    model = model_without_next()
    agent = MetaworldAgent(model)
    known = taught(agent, timesteps(2))
    agent.reset(np.ones(2, np.bool_))
    observations = np.random.default_rng(0).normal(size=(2, WIDTH))
    actions = agent.eval_action(observations)
    assert np.array_equal(agent.eval_action(observations), actions)
    agent.reset(np.array([True, False]))
    assert np.array_equal(agent.eval_action(observations), actions)
    assert torch.equal(posterior(agent), known)
    z, rows = known[0], torch.from_numpy(observations.astype(np.float32))
    flags = torch.ones(2, dtype=torch.bool)
    expected = model.agent.act(rows, agent.memory._replace(z=z, z_mean=z), flags, torch.Generator()).action
    assert np.array_equal(actions, expected.numpy())


def test_adaptation_samples_actions_in_the_action_space_and_the_seed_fixes_them():
    model = model_without_next()
    agent, same, other = MetaworldAgent(model), MetaworldAgent(model), MetaworldAgent(model, seed=1)
    observations = np.zeros((4, WIDTH))
    first, extras = agent.adapt_action(observations)
    assert first.shape == (4, ACTIONS)
    assert extras == {}
    assert all(row in model.action_space for row in first)
    assert np.array_equal(first, same.adapt_action(observations)[0])
    assert not np.array_equal(first, other.adapt_action(observations)[0])
    assert not np.array_equal(first, agent.adapt_action(observations)[0])


def test_an_encoder_of_next_observations_is_refused():
    fields = ("observation", "action", "reward", "next_observation")
    with pytest.raises(ValueError, match=r"reads next_observation.* or use model\.evaluate\(\)"):
        MetaworldAgent(small_model(encoder={"context_fields": fields}))


@pytest.mark.parametrize("shape", [(WIDTH,), (2, WIDTH + 1)])
def test_observations_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError, match=r"must have the shape \(environment, 3\)"):
        MetaworldAgent(model_without_next()).eval_action(np.zeros(shape))


def test_another_number_of_environments_within_a_trial_is_an_error():
    agent = MetaworldAgent(model_without_next())
    agent.adapt_action(np.zeros((2, WIDTH)))
    with pytest.raises(ValueError, match=r"began with 2 environments, now there are 3\. Call init\(\)"):
        agent.eval_action(np.zeros((3, WIDTH)))
    agent.init()
    assert agent.eval_action(np.zeros((3, WIDTH))).shape == (3, ACTIONS)


@pytest.mark.parametrize("field", ["observation", "reward"])
def test_what_is_not_finite_is_an_error_and_teaches_nothing(field):
    agent = MetaworldAgent(model_without_next())
    known = taught(agent, timesteps(2))
    (step,) = timesteps(2, 1)
    with pytest.raises(NonFiniteError, match="must be finite"):
        agent.step(step._replace(**{field: getattr(step, field) * np.nan}))
    assert torch.equal(posterior(agent), known)


def test_metaworlds_own_evaluation_plays_a_model():
    metaworld = pytest.importorskip("metaworld")
    from metaworld.evaluation import metalearning_evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metaworld, "_N_GOALS", 2)
        envs = metaworld.make_ml_envs(
            "reach-v3", seed=0, split="test", task_select="pseudorandom", meta_batch_size=2, max_episode_steps=5
        )
    goals = [Task({"env": "reach-v3", "rand_vec": [0.05, 0.65, 0.02, 0.05, y, 0.2]}) for y in (0.8, 0.85, 0.9)]
    config = small_config(
        encoder={"context_fields": ("observation", "action", "reward")}, training={"n_train_tasks": 2, "meta_batch": 2}
    )
    model = PEARL(ML1("reach-v3", episode_steps=5), config, tasks=(goals[:2], goals[2:]))
    calls = []

    class Spied(MetaworldAgent):
        def init(self):
            super().init()
            calls.append("init")

        def step(self, timestep):
            super().step(timestep)
            calls.append("step")

        def eval_action(self, observations):
            calls.append("eval_action")
            return super().eval_action(observations)

    success, mean_return, by_environment = metalearning_evaluation(
        Spied(model), envs, num_evals=2, adaptation_episodes=3, evaluation_episodes=2
    )
    envs.close()
    assert calls == (["init"] + ["step"] * 15 + ["eval_action"] * 5) * 2
    assert success == by_environment["reach-v3"] == 0
    assert 5 < mean_return < 50
