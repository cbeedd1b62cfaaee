"""A session that forgets: z follows the posterior, old evidence fades, and the model itself stays as it is."""

import pytest
import torch

import pearl
from tests.support.sessions import observe_at_random, play_by_hand, same
from tests.support.small import small_model


def observed(session, steps):
    observe_at_random(session, steps)
    return session


def test_without_forgetting_z_follows_the_posterior_of_all_transitions(model):
    session, plain = (
        observed(each, 7) for each in (model.session(seed=0, forgetting=1), model.session(seed=0, follow=False))
    )
    torch.testing.assert_close(session.posterior.mean, plain.posterior.mean)
    torch.testing.assert_close(session.posterior.stddev, plain.posterior.stddev)
    assert torch.equal(session.memory.z_mean[0], session.posterior.mean)
    assert not torch.equal(plain.memory.z_mean[0], plain.posterior.mean)


def test_with_forgetting_the_belief_is_less_certain_and_its_evidence_bounded(model):
    sure, unsure = (observed(model.session(seed=0, forgetting=share), 60) for share in (1, 0.9))
    assert (unsure.posterior.stddev > sure.posterior.stddev).all()
    assert float(sure.memory.belief.n_seen) == 60
    assert float(unsure.memory.belief.n_seen) == pytest.approx((1 - 0.9**60) / 0.1)


def test_a_forgetting_session_changes_neither_the_model_nor_its_other_sessions(model, env):
    before, after = model.session(seed=1), model.session(seed=1)
    play_by_hand(before, env, episodes=1, seed=0)
    observed(model.session(seed=0, forgetting=0.9), 5)
    play_by_hand(after, env, episodes=1, seed=0)
    assert same(before.memory, after.memory)


@pytest.mark.parametrize("forgetting", [0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(model, forgetting):
    with pytest.raises(ValueError, match=r"forgetting must be above 0 and at most 1, got .*0\.95 keeps 95 %"):
        model.session(forgetting=forgetting)


@pytest.mark.parametrize("forgetting", ["0.9", True, [0.9]])
def test_what_is_no_number_is_refused(model, forgetting):
    with pytest.raises(TypeError, match=r"forgetting must be a number"):
        model.session(forgetting=forgetting)


def test_agents_without_a_belief_that_can_fade_are_refused():
    gru = small_model("point-robot", encoder={"kind": "gru"})
    assert gru.session(forgetting=1)
    with pytest.raises(TypeError, match="cannot forget evidence"):
        gru.session(forgetting=0.9)
    rl2 = pearl.MetaLearner("point-robot", pearl.RL2Config())
    with pytest.raises(TypeError, match="Only PEARL has a belief that can fade; this agent is a "):
        rl2.session(forgetting=0.9)
    blind = pearl.MetaLearner("point-robot", pearl.preset(pearl.MultitaskSACConfig, "point-robot"))
    with pytest.raises(TypeError, match="this agent is a PEARLAgent with a blind encoder"):
        blind.session(forgetting=0.9)


def test_by_default_z_follows_and_nothing_is_forgotten(model):
    default, named = (observed(model.session(seed=0, **kind), 7) for kind in ({}, {"forgetting": 1}))
    assert same(default.memory, named.memory)


@pytest.mark.parametrize("kind", [{"forgetting": 0.9}, {"forgetting": 1}])
def test_a_z_that_stays_can_not_forget(model, kind):
    with pytest.raises(ValueError, match="need a z that follows the posterior; leave follow out"):
        model.session(follow=False, **kind)


@pytest.mark.parametrize("follow", ["yes", 1, None])
def test_follow_is_a_truth_value(model, env, follow):
    with pytest.raises(TypeError, match="follow must be True or False, got"):
        model.session(follow=follow)
    with pytest.raises(TypeError, match="follow must be True or False, got"):
        model.adapt(env, follow=follow)
