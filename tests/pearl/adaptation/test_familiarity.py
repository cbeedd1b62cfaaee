"""Unfamiliarity: uniform for tasks like those of training, near 1 for others, saved with the model."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import pearl
from pearl.adaptation.familiarity import Familiarity, counts_up_to
from pearl.checkpoint.store import CheckpointError
from tests.support.sessions import fitted, play_by_hand
from tests.support.small import load, small_model

PRETRAINED = Path(__file__).parents[3] / "pretrained"


@pytest.fixture(autouse=True)
def quick(fit_briefly):
    # The classifier is not read here.
    fit_briefly(3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    # Dimensions of very different spread count alike.
    scale = torch.tensor([1.0, 100.0, 0.01])
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed)) * scale


def known_of(counts: list[int], mean: torch.Tensor) -> Familiarity:
    return Familiarity(torch.tensor([0, *counts]), from_prior(mean), torch.ones_like(from_prior(mean)), every(mean))


def from_prior(mean: torch.Tensor) -> torch.Tensor:
    """Begin with the prior's mean, before the first transition."""
    return torch.cat([torch.zeros_like(mean[:1]), mean])


def every(mean: torch.Tensor) -> torch.Tensor:
    """Number each trial as a task of its own."""
    return torch.arange(mean.shape[1])


def test_a_familiar_task_is_as_unfamiliar_as_any_number_from_0_to_1():
    known = known_of([1], normal(1, 100))
    found = np.array([known.unfamiliarity(mean, 1) for mean in normal(2_000, seed=1)])
    for level in (0.25, 0.5, 0.75, 0.95):
        assert (found > level).mean() == pytest.approx(1 - level, abs=0.06)


@pytest.mark.parametrize("dimension", range(3))
def test_a_belief_far_from_all_others_in_one_dimension_is_as_unfamiliar_as_can_be(dimension):
    beliefs = normal(1, 50)
    known = known_of([1], beliefs)
    far = beliefs[0, 0].clone()
    assert known.unfamiliarity(far, 1) == 0.0
    far[dimension] += 10 * beliefs[0, :, dimension].std()
    assert known.unfamiliarity(far, 1) == 50 / 51


def test_a_belief_is_compared_with_those_of_as_many_transitions():
    known = known_of([2, 5], torch.stack([normal(20), normal(20) + 1_000.0]))
    found = {n_seen: known.unfamiliarity(torch.zeros(3), n_seen) for n_seen in (0, 1.9, 2, 4.9, 5, 500)}
    assert found[0] == found[1.9] == 0  # The prior, for every task.
    assert 0 < found[2] == found[4.9] < 1
    assert found[5] == found[500] == 20 / 21


@pytest.mark.parametrize("overconfident", [1.0, 30.0])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_an_interval_holds_as_many_final_means_as_it_says_in_each_dimension(coverage, overconfident):
    # The mean moves by a normal step of deviation 1 until the trial ends, by 0.1 from half of it on.
    def trials(n, seed):
        start, half, end = normal(n, seed=seed), normal(n, seed=seed + 1), normal(n, seed=seed + 2)
        return torch.stack([start, start + half, start + half + 0.1 * end])

    mean = trials(200, seed=0)
    # The spread is right in one dimension, ten times too large in another, and too small in a third.
    stddev = torch.ones_like(mean) * torch.tensor([1.0, 1_000.0, 0.001]) / overconfident
    known = Familiarity(torch.tensor([0, 4, 8]), mean, stddev, every(mean))
    new = trials(500, seed=10)
    for row, n_seen in ((0, 2), (1, 4), (1, 7)):
        posterior = torch.distributions.Normal(new[row], stddev[0, :1].expand(500, 3))
        low, high = known.interval(posterior, n_seen, coverage)
        held = ((low <= new[-1]) & (new[-1] <= high)).float().mean(0)
        assert held.tolist() == pytest.approx([coverage] * 3, abs=0.07)


def test_few_training_tasks_promise_no_more_than_they_can():
    known = known_of([1], normal(1, 9))
    posterior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    known.interval(posterior, 1, 0.9)
    with pytest.raises(ValueError, match=r"must be at most 0\.9 with 9 training tasks to compare with, got 0.91"):
        known.interval(posterior, 1, 0.91)


def test_trials_of_one_task_are_not_compared_with_each_other():
    # Six trials of each of five tasks, which lie near each other: a new task is as near to none of them.
    tasks, noise = normal(5).repeat_interleave(6, 0), 0.01 * normal(30, seed=1)
    mean = torch.stack([torch.zeros(30, 3), tasks + noise])
    of_task = torch.arange(5).repeat_interleave(6)
    known = Familiarity(torch.tensor([0, 1]), mean, torch.ones_like(mean), of_task)
    found = np.array([known.unfamiliarity(each, 1) for each in normal(300, seed=2)])
    assert found.max() == pytest.approx(5 / 6)
    assert np.median(found) < 0.8
    # Where new tasks are those of training, a further trial of one of them is familiar.
    finite = Familiarity(torch.tensor([0, 1]), mean, torch.ones_like(mean), torch.arange(30))
    again = np.array([finite.unfamiliarity(each, 1) for each in normal(5) + 0.01 * normal(5, seed=3)])
    assert again.max() < 1
    assert finite.unfamiliarity(torch.full((3,), 5.0), 1) == pytest.approx(30 / 31)


def test_an_interval_narrows_as_the_task_becomes_known():
    model = fitted(pearl.load(PRETRAINED / "point-robot"))
    session = model.session(seed=0)
    before = np.subtract(*session.interval()[::-1])
    play_by_hand(session, env_of(model), episodes=1, seed=0)
    after, narrower = np.subtract(*session.interval()[::-1]), np.subtract(*session.interval(0.5)[::-1])
    assert before.shape == (model.agent.latent_dim,)
    assert after.mean() < 0.5 * before.mean()
    assert (narrower < after).all()


@pytest.mark.parametrize("coverage", [0, 1, -0.1, "0.9", None, float("nan")])
def test_a_coverage_out_of_range_is_refused(coverage):
    with pytest.raises(ValueError, match="coverage must be a number above 0 and below 1, got"):
        small_model().session().interval(coverage)


def test_a_deterministic_encoder_has_no_interval():
    model = fitted(small_model(encoder={"kind": "mean"}))
    with pytest.raises(ValueError, match="encoder is deterministic"):
        model.session().interval()


def test_beliefs_that_are_all_alike_are_no_error():
    known = known_of([1], torch.zeros(1, 5, 3))
    assert known.unfamiliarity(torch.zeros(3), 1) == 0.0
    assert known.unfamiliarity(torch.ones(3), 1) == 5 / 6


@pytest.mark.parametrize("longest", [1, 2, 7, 100, 4_000])
def test_counts_ascend_from_0_to_the_longest(longest):
    counts = counts_up_to(longest).tolist()
    assert (counts[0], counts[-1]) == (0, longest)
    assert counts == sorted(set(counts))
    assert all(one <= 1.4 * before or one == before + 1 for before, one in pairwise(counts))


def env_of(model):
    return model.task_distribution.make_env(model.test_tasks[0])


def after(session, env, *, episodes=1):
    """The unfamiliarity after some episodes, played by hand."""
    play_by_hand(session, env, episodes=episodes, seed=0)
    return session.unfamiliarity


def test_goals_outside_those_of_training_are_unfamiliar():
    model = fitted(pearl.load(PRETRAINED / "point-robot"))

    def unfamiliarity(goal, **kind):
        env = model.task_distribution.make_env(pearl.Task({"goal": goal}))
        return after(model.session(seed=1, **kind), env, episodes=2)

    inside = [unfamiliarity([x, y]) for x in (-0.6, 0.1, 0.7) for y in (-0.5, 0.4)]
    assert np.median(inside) < 0.9
    assert sum(each > 0.95 for each in inside) <= 1
    assert min(unfamiliarity([x, 0.3]) for x in (-2.0, 2.0)) > 0.95
    assert unfamiliarity([2.0, 0.3], detect_changes=True) > 0.95
    assert unfamiliarity([2.0, 0.3], forgetting=0.9) > 0.9


def test_nothing_is_known_before_the_first_transition_or_when_a_task_begins_anew():
    model = fitted(small_model())
    session = model.session(seed=0)
    assert session.unfamiliarity == 0.0
    play_by_hand(session, env_of(model), episodes=1, seed=0)
    session.start_anew()
    assert session.unfamiliarity == 0.0


def test_a_checkpoint_keeps_what_is_familiar_and_training_discards_it(tmp_path):
    model = fitted(small_model())
    model.save(tmp_path, training_state=False)
    loaded = load(tmp_path)
    found = [after(each.session(seed=2), env_of(each)) for each in (model, loaded)]
    assert found[0] == found[1]
    model.learn(100)
    with pytest.raises(ValueError, match=r"not learnt which tasks are familiar\. Call model\.fit_change_detector\(\)"):
        _ = model.session().unfamiliarity


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("counts", torch.zeros(3, dtype=torch.int64), "does not match its config"),
        ("mean", torch.zeros(4, 9, 3), "does not match its config"),
        ("mean", torch.zeros(4, 9), "does not match its config"),
        ("mean", torch.zeros(4, 401, 2), "does not match its config"),
        ("task", torch.zeros(8, dtype=torch.int64), "does not match its config"),
        ("task", torch.zeros(9, dtype=torch.int64), "task must number two tasks or more"),
        ("counts", torch.tensor([0, 1, 5, 3]), "counts must ascend from 0"),
        ("counts", torch.tensor([1, 2, 3, 4]), "counts must ascend from 0"),
        ("stddev", torch.full((4, 9, 2), -1.0), "stddev must not be negative"),
    ],
)
def test_beliefs_of_another_form_are_refused(tmp_path, name, value, message):
    model = small_model()
    beliefs = torch.zeros(4, 9, 2)
    known = Familiarity(torch.arange(4), beliefs, beliefs, torch.arange(9))
    model.familiarity = known
    model.save(tmp_path / "sound", training_state=False)
    assert load(tmp_path / "sound").familiarity is not None
    setattr(known, name, value)
    model.save(tmp_path / "other", training_state=False)
    with pytest.raises(CheckpointError, match=rf"familiarity.*{message}"):
        load(tmp_path / "other")


@pytest.mark.parametrize("kind", [{"forgetting": 0.9}, {"detect_changes": True}, {}])
def test_the_evidence_is_that_of_the_belief(kind):
    model = fitted(pearl.load(PRETRAINED / "point-robot"))
    session = model.session(seed=0, **kind)
    for x in (0.9, -0.9):  # The second goal is noticed as a change.
        env = model.task_distribution.make_env(pearl.Task({"goal": [x, 0.1]}))
        play_by_hand(session, env, episodes=1, seed=0)
        assert session._evidence == pytest.approx(float(session.memory.belief.n_seen))


def test_a_belief_that_fades_has_no_interval():
    with pytest.raises(ValueError, match="intervals need a session without forgetting"):
        fitted(small_model()).session(forgetting=0.9).interval()


def test_agents_without_a_belief_say_so():
    rl2 = pearl.MetaLearner("point-robot", pearl.RL2Config())
    blind = pearl.MetaLearner("point-robot", pearl.preset(pearl.MultitaskSACConfig, "point-robot"))
    for model in (rl2, blind):
        session = model.session()
        with pytest.raises(TypeError, match="Only PEARL has a posterior over a task variable"):
            _ = session.unfamiliarity
        with pytest.raises(TypeError, match="Only PEARL has a posterior over a task variable"):
            session.interval()


@pytest.mark.parametrize("kind", ["gru", "attention", "mean", "product_of_gaussians", "pooled_features"])
def test_every_encoders_beliefs_are_compared(kind):
    model = fitted(small_model(encoder={"kind": kind}))
    session = model.session(seed=0)
    assert 0 <= after(session, env_of(model)) < 1
