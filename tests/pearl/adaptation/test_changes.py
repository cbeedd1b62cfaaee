"""A session that notices changes: when it alarms, what it believes afterwards, and that errors leave it as it was."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from agents import Transitions
from pearl.adaptation.changes import ALLOWANCE, MOST_OF_ONE, SETTLED, THRESHOLD, WatchfulSession
from pearl.adaptation.session import Change
from tests.support.sessions import GOAL, observe_at_random, same

OWN, OTHER = -3.0, MOST_OF_ONE
"""Ratios of transitions that fit the belief's task, and that fit another one"""


class Scripted(torch.nn.Module):
    """Returns given ratios in turn and keeps the posteriors it was asked about; the prior is not asked about."""

    def __init__(self, ratios: list[float]) -> None:
        super().__init__()
        self.ratios = iter(ratios)
        self.asked: list[Normal] = []

    def in_numpy(self) -> Callable[..., float]:
        return self.ratio

    def ratio(self, _: Any, mean: Any, stddev: Any) -> float:
        self.asked.append(Normal(torch.from_numpy(mean), torch.from_numpy(stddev)))
        return next(self.ratios)


def watching(model, ratios):
    """Start a session whose second transition has the first ratio."""
    session = WatchfulSession(model.agent.following(1.0), torch.Generator().manual_seed(0), Scripted(ratios))
    return session, session._detector


def watched(model, ratios):
    session, _ = watching(model, ratios)
    observe_at_random(session, len(ratios) + 1)
    return session


def test_transitions_that_fit_the_task_raise_no_alarm(model):
    session = watched(model, 100 * [OWN])
    plain = model.session(seed=0, forgetting=1)
    observe_at_random(plain, 101)
    assert session.changes == ()
    assert same(session.memory.belief, plain.memory.belief)


def transitions(n, *, seed=0):
    """Return the transitions of ``observe_at_random``."""
    rng = np.random.default_rng(seed)
    rows = []
    for observation, action in zip(*rng.uniform(-1, 1, (2, n, 2)).astype(np.float32), strict=True):
        following = observation + 0.1 * action
        reward = -float(np.hypot(*(following - GOAL)))
        before, done, after = (torch.from_numpy(row[None]) for row in (observation, action, following))
        rows.append(Transitions(before, done, torch.tensor([reward]), after, torch.zeros(1)))
    return rows


def test_two_transitions_of_another_task_are_enough_and_the_belief_begins_with_them(model):
    session = watched(model, [*(30 * [OWN]), OTHER, OTHER])
    assert session.changes == (Change(step=32, began=31),)
    agent = model.agent.following(1.0)
    recent, everyone = agent.begin(1, torch.Generator()), torch.ones(1, dtype=torch.bool)
    for transition in transitions(33)[31:]:
        recent = agent.observe(recent, transition, everyone)
    assert same(session.memory.belief, recent.belief)
    assert float(session.memory.belief.n_seen) == 2


def test_no_single_transition_is_enough(model):
    assert watched(model, [*(30 * [OWN]), 1e6, *(30 * [OWN])]).changes == ()


def test_evidence_below_the_allowance_never_adds_up(model):
    assert watched(model, 200 * [0.9 * ALLOWANCE]).changes == ()
    weak = watched(model, 200 * [ALLOWANCE + 0.1]).changes
    assert weak[0].step == pytest.approx(THRESHOLD / 0.1, abs=2)


def test_a_settled_belief_is_compared_as_it_was_before_the_first_sign(model):
    ratios = [*((SETTLED + 5) * [OWN]), 1.0, 1.0, 1.0, OWN]
    session, script = watching(model, ratios)
    observe_at_random(session, len(ratios) + 1)
    means = torch.stack([posterior.mean for posterior in script.asked])
    first = SETTLED + 5
    assert all(torch.equal(means[first], later) for later in means[first : first + 4])
    assert not torch.equal(means[first - 1], means[first])


def test_a_young_belief_goes_on_changing(model):
    session, script = watching(model, 6 * [1.0])
    observe_at_random(session, 7)
    means = [posterior.mean for posterior in script.asked]
    assert not any(torch.equal(one, following) for one, following in pairwise(means))


def test_after_an_alarm_the_next_change_is_noticed_too(model):
    session = watched(model, [*(30 * [OWN]), OTHER, OTHER, *(30 * [OWN]), OTHER, OTHER])
    assert [change.began for change in session.changes] == [31, 63]


def test_the_reference_agrees_with_an_alarm_within_the_episodes_last_step(model):
    session, _ = watching(model, [*(30 * [OWN]), OTHER, OTHER])
    observe_at_random(session, 32)
    (transition,) = transitions(1, seed=5)
    observation, action, reward, following, _ = (field[0].numpy() for field in transition)
    session.observe(observation, action, float(reward), following, True, False)
    assert len(session.changes) == 1
    assert torch.equal(session.memory.z_mean[0], session.posterior.mean)


def test_an_error_leaves_evidence_belief_and_draws_as_they_were(model, monkeypatch):
    session, _ = watching(model, [*(30 * [OWN]), OTHER, OTHER, OTHER])
    observe_at_random(session, 32)
    memory, draws = session.memory, session._rng.get_state()

    def failing(*arguments):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(WatchfulSession, "_after_episode", failing)
        with pytest.raises(RuntimeError, match="broken"):
            session.observe(np.zeros(2), np.zeros(2), 0.0, np.zeros(2), True, False)
    assert session.changes == ()
    assert same(session.memory, memory)
    assert torch.equal(session._rng.get_state(), draws)
    session.observe(np.zeros(2), np.zeros(2), 0.0, np.zeros(2), True, False)
    assert len(session.changes) == 1


def test_a_session_that_does_not_look_for_changes_says_so(model):
    with pytest.raises(ValueError, match=r"start it by model\.session\(detect_changes=True\)"):
        model.session().changes  # noqa: B018


def test_a_belief_settles_also_while_a_sum_lasts(model):
    ratios = [*((SETTLED - 4) * [OWN]), *(8 * [0.4])]
    session, script = watching(model, ratios)
    observe_at_random(session, len(ratios) + 1)
    means = [posterior.mean for posterior in script.asked]
    assert torch.equal(means[-1], means[-2])
    assert not torch.equal(means[SETTLED - 4], means[SETTLED - 3])


def test_a_session_that_is_told_starts_anew(model):
    session = watched(model, [*(30 * [OWN]), OTHER])
    session.start_anew()
    assert float(session.memory.belief.n_seen) == 0
    session._detector.ratios = iter(100 * [OTHER])
    observe_at_random(session, 2)
    assert session.changes == ()
    observe_at_random(session, 1)
    assert [change.began for change in session.changes] == [33]
