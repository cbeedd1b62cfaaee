"""A session's steps without tensors are those of the agent's own methods."""

import numpy as np
import pytest
import torch

import pearl
from agents import PEARLAgent
from agents.types import ActionChoice
from pearl.adaptation.changes import WatchfulSession
from pearl.adaptation.session import Session
from pearl.adaptation.steps import StepsInNumPy, StepsOfAgent
from tests.support.sessions import play_by_hand, tensors
from tests.support.small import small_model

KINDS = ["linear_gaussian", "product_of_gaussians", "pooled_features", "max_pooled_features", "mean"]


def assert_near(found, expected):
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-4, atol=1e-5)


def by_the_agent(session: Session) -> Session:
    """The session with the agent's own methods for its steps."""
    session._own, session._steps = session.memory, StepsOfAgent(session.agent)
    return session


@pytest.mark.parametrize("forgetting", [None, 0.9])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["point-robot", "varying-cartpole"])
def test_actions_and_beliefs_are_those_of_the_agents_own_methods(family, kind, forgetting):
    if kind == "max_pooled_features" and forgetting:
        pytest.skip("a maximum cannot be forgotten")
    model = small_model(family, encoder={"kind": kind}).learn(60)
    model.agent.encoder.evidence_limit = 12.0
    session = model.session(seed=0, forgetting=forgetting)
    assert isinstance(session._steps, StepsInNumPy)
    other = by_the_agent(model.session(seed=0, forgetting=forgetting))
    space = model.observation_space
    rng = np.random.default_rng(0)
    for step in range(30):
        before, after = rng.standard_normal((2, *space.shape)).astype(np.float32)
        for greedy in (True, False):
            found, expected = session.act(before, greedy), other.act(before, greedy)
            assert_near(found, expected)
            assert type(found) is type(expected)
        for each in (session, other):
            each.observe(before, expected, float(before.sum()), after, False, step % 10 == 9)
    for one, another in zip(tensors(session.memory), tensors(other.memory), strict=True):
        assert_near(one, another)
    assert_near(session.posterior.stddev, other.posterior.stddev)


@pytest.mark.parametrize(
    "settings", [{}, {"agent": {"reward_scale": 1.0, "observations": {"normalise": False}}}], ids=str
)
def test_ratios_are_those_of_the_detector(settings, env, fit_briefly):
    fit_briefly(20)
    model = small_model("point-robot", **settings).learn(60)
    model.fit_change_detector(seed=0)
    session = model.session(seed=0, detect_changes=True)
    other = by_the_agent(model.session(seed=0, detect_changes=True))
    assert isinstance(session, WatchfulSession)
    ratios = []
    for each in (session, other):
        play_by_hand(each, env, episodes=2, seed=0)
        rows, _ = each._rows(np.zeros(2), env.action_space.high, -3.0, np.ones(2))
        ratios.append(each._steps.ratio(model.change_detector, each._steps.read(rows, False), each._own))
    assert session.changes == other.changes
    assert ratios[0] != 0
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3, abs=1e-4)


def test_where_z_stays_or_the_encoder_reads_sequences_the_agents_own_methods_are_taken():
    assert isinstance(small_model("point-robot").session(follow=False)._steps, StepsOfAgent)
    assert isinstance(small_model("point-robot", encoder={"kind": "gru"}).session()._steps, StepsOfAgent)


def test_methods_of_a_subclass_are_called():
    class Still(PEARLAgent):
        def act(self, *arguments):
            return ActionChoice(torch.full_like(super().act(*arguments).action, 0.05))

    session = small_model("point-robot").session()
    session.agent.__class__ = Still
    subclassed = Session(session.agent, torch.Generator().manual_seed(0))
    assert subclassed.act(np.zeros(2)).tolist() == pytest.approx([0.05, 0.05])


def test_a_model_loaded_in_inference_mode_adapts(tmp_path):
    small_model("point-robot").save(tmp_path / "agent")
    with torch.inference_mode():
        session = pearl.load(tmp_path / "agent").session(seed=0)
        for _ in range(2):
            session.observe(np.zeros(2), np.zeros(2), -1.0, np.ones(2), False, False)
    session.observe(np.zeros(2), np.zeros(2), -1.0, np.ones(2), False, False)
    assert session.memory.belief.n_seen == 3


@pytest.mark.parametrize("options", [{"follow": False}, {}], ids=str)
def test_numbers_that_may_overflow_are_read_at_once(options):
    session = small_model("point-robot").session(seed=0, **options)
    session.observe(np.zeros(2), np.zeros(2), 1e12, np.ones(2), False, False)
    assert session.memory.unread == ()
    assert session.memory.belief.n_seen == 1


@pytest.mark.filterwarnings("error")
def test_what_never_changed_in_training_stays_out_however_large_it_is():
    model = small_model("point-robot", encoder={"context_fields": ["reward", "next_observation"]}).learn(60)
    model.agent.units.change.mean.zero_()
    model.agent.units.change.variance.copy_(torch.tensor([1.0, 0.0]))
    session, other = model.session(seed=0), by_the_agent(model.session(seed=0))
    for each in (session, other):
        each.observe(np.array([0.0, 3e38]), np.zeros(2), -1.0, np.array([0.1, -3e38]), False, False)
    rows, _ = other._rows(np.array([0.0, 3e38]), np.zeros(2), -1.0, np.array([0.0, -3e38]))
    with np.errstate(all="ignore"):
        fields = session._steps._task.read(*rows)
    assert np.isfinite(fields).all()
    assert_near(session.posterior.mean, other.posterior.mean)
