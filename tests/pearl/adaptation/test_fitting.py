"""A change detector that a model learns: it tells tasks apart, is saved with the model, and belongs to one agent."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import pearl
from agents.context.changes import detector_inputs, encoded
from encoders import Context
from pearl import PEARL
from pearl.adaptation import fitting
from pearl.checkpoint.store import CheckpointError
from tests.support.sessions import fitted
from tests.support.small import Counting, load, small_model

PRETRAINED = Path(__file__).parents[3] / "pretrained"


@pytest.fixture(autouse=True)
def quick(fit_briefly):
    fit_briefly(300)


def test_transitions_of_another_task_have_a_higher_ratio_even_for_tasks_never_seen():
    model = fitted(pearl.load(PRETRAINED / "point-robot"))
    left, right = (played(model, pearl.Task({"goal": [x, 0.1]})) for x in (-0.8, 0.8))
    own = [ratios(model, each, each) for each in (left, right)]
    other = [ratios(model, left, right), ratios(model, right, left)]
    assert max(each.mean() for each in own) < 0
    assert min(each.mean() for each in other) > 1


def played(model, task):
    env = model.task_distribution.make_env(task)
    policy = model.adapt(env, episodes=2, seed=1)
    env.close()
    return fitting._of_task([policy.trial], range(1))


@torch.no_grad()
def ratios(model, believed, seen):
    posterior = model.agent.encoder.posterior(model.agent.infer(believed))
    inputs = detector_inputs(model.agent, encoded(model.agent, seen))[0]
    each = torch.distributions.Normal(*(part.expand(len(inputs), -1) for part in (posterior.mean, posterior.stddev)))
    return model.change_detector(inputs, each)


def test_a_seed_fixes_the_detector_and_the_model_stays_as_it_is():
    one, other = small_model(), small_model()
    before = {name: value.clone() for name, value in one.agent.state_dict().items()}
    for model in (one, other):
        fitted(model)
    for name, value in one.change_detector.state_dict().items():
        assert torch.equal(value, other.change_detector.state_dict()[name])
    assert all(torch.equal(before[name], value) for name, value in one.agent.state_dict().items())
    assert not any(parameter.requires_grad for parameter in one.change_detector.parameters())


def test_few_tasks_are_played_more_often_and_neighbours_differ(monkeypatch):
    seen, make_envs = [], fitting.make_envs

    def recorded(distribution, tasks, *arguments):
        seen.extend(tasks)
        return make_envs(distribution, tasks, *arguments)

    monkeypatch.setattr(fitting, "make_envs", recorded)
    fitted(small_model())
    assert len(seen) >= fitting.FEWEST_TRIALS
    assert all(one != following for one, following in pairwise([*seen, seen[0]]))


def test_a_checkpoint_keeps_the_detector(tmp_path):
    model = fitted(small_model())
    model.save(tmp_path / "with", training_state=False)
    loaded = load(tmp_path / "with")
    for name, value in model.change_detector.state_dict().items():
        assert torch.equal(value, loaded.change_detector.state_dict()[name])
    assert loaded.session(detect_changes=True).changes == ()
    model.save(tmp_path / "resumable")
    assert load(tmp_path / "resumable").learn(20).num_timesteps > 0


def test_a_detector_of_another_shape_is_refused(tmp_path):
    model = fitted(small_model())
    model.change_detector.network = small_model().agent.actor.network
    model.save(tmp_path, training_state=False)
    with pytest.raises(CheckpointError, match=r"changes.*does not match its config"):
        load(tmp_path)


def test_training_discards_what_was_learnt_about_the_former_agent():
    model = fitted(small_model())
    model.learn(100)
    with pytest.raises(ValueError, match=r"Call model\.fit_change_detector\(\) once after training"):
        model.session(detect_changes=True)


def test_agents_without_a_belief_are_refused():
    rl2 = pearl.MetaLearner("point-robot", pearl.RL2Config())
    blind = pearl.MetaLearner("point-robot", pearl.preset(pearl.MultitaskSACConfig, "point-robot"))
    for model in (rl2, blind):
        with pytest.raises(TypeError, match="Only PEARL notices changes of the task; this agent is a"):
            model.fit_change_detector()
        with pytest.raises(TypeError, match="Only PEARL notices changes of the task; this agent is a"):
            model.session(detect_changes=True)


def test_one_task_is_not_enough():
    tasks = Counting().sample(2, np.random.default_rng(0))
    model = PEARL(Counting(), small_model().config, tasks=(tasks[:1], tasks[1:]))
    with pytest.raises(ValueError, match="two training tasks or more, there is 1"):
        model.fit_change_detector()


@pytest.mark.parametrize("kind", ["gru", "attention", "mean", "product_of_gaussians"])
def test_every_encoder_has_beliefs_that_a_detector_reads(kind):
    model = fitted(small_model("point-robot", encoder={"kind": kind}))
    session = model.session(seed=0, detect_changes=True)
    env = model.task_distribution.make_env(model.test_tasks[0])
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        action = session.act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        session.observe(observation, action, float(reward), following, terminated, truncated)
        observation = following
    env.close()
    assert session.changes == ()


def test_one_task_of_short_episodes_does_not_shorten_the_contexts_of_the_others():
    lengths = (40, 3)
    parts = [transitions_of(length) for length in lengths]
    agent = small_model().agent
    rng = torch.Generator().manual_seed(0)
    found = fitting._posteriors(agent, parts, [[0], [0]], rng)
    with torch.no_grad():
        longest, short = (agent.encoder.posterior(agent.encoder.encode(part)).stddev[0] for part in parts)
    # The largest of many contexts of the first task holds most of its steps, of the second task all three.
    assert float(found.stddev[0].min(0).values.sum()) < float(longest.sum()) * 1.2
    torch.testing.assert_close(found.stddev[1].min(0).values, short)


def transitions_of(length: int) -> Context:
    """A context of one small task, as the encoder reads it."""
    values = torch.randn(1, length, 3 + 2 + 1 + 3, generator=torch.Generator().manual_seed(length))
    observation, action, reward, following = values.split([3, 2, 1, 3], dim=-1)
    return Context(observation, action, reward[..., 0], following, torch.ones(1, length, dtype=torch.bool))


@pytest.mark.parametrize("wanted", ["no", None, 1])
def test_detect_changes_is_a_truth_value(wanted):
    with pytest.raises(TypeError, match="detect_changes must be True or False, got"):
        small_model().session(detect_changes=wanted)
