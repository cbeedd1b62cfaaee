"""The replay of trials holds the newest transitions, and gives whole trials, or parts of them."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pearl
from agents import RecurrentSACAgentConfig
from pearl.collection.rollout import Trajectories
from pearl.config.run import EvaluationConfig, RecurrentSACConfig, load_preset, preset
from pearl.config.training import CAPACITY, FEWEST_TASKS, TrialReplayConfig
from pearl.model.meta_learner import MetaLearner
from pearl.replay.transitions import MIB
from pearl.replay.trials import TrialReplay
from tests.support.small import LENGTH, Counting, differences, everything_learnt

TRAINING_OFFSET = 1000.0
PIXELS = 6


def trials(lengths, *, first=0, images=False):
    """One trial of each length, its transitions told apart by the trial's number and the step; padding is rubbish.

    Episodes are of two steps, ended by a termination where the trial's number is even, by a time limit where odd.
    """
    shape = (len(lengths), max(1, *lengths) + 1)
    step = np.broadcast_to(np.arange(shape[1], dtype=np.float32), shape)
    number = np.broadcast_to(np.arange(first, first + len(lengths), dtype=np.float32)[:, None], shape)
    mask = step < np.array(lengths)[:, None]
    observation = np.where(mask[..., None], np.stack([number, step], axis=-1), np.nan)
    if images:
        pixels = np.stack([number, step, *[7 * step + number] * (PIXELS - 2)], axis=-1)
        observation = np.where(mask[..., None], pixels, 255).astype(np.uint8)
    ended = (step % 2 == 1) | ~mask
    return Trajectories(
        observation=observation,
        action=np.where(mask, step + 0.5, np.nan)[..., None].astype(np.float32),
        reward=np.where(mask, step, np.nan).astype(np.float32),
        training_reward=np.where(mask, step + TRAINING_OFFSET, np.nan).astype(np.float32),
        next_observation=observation,
        terminated=ended & (number % 2 == 0),
        truncated=ended & (number % 2 == 1),
        episode=np.zeros(shape, np.int64),
        mask=mask,
        extras={},
    )


def filled(*iterations, capacity=20, images=False):
    replay = TrialReplay(capacity, PIXELS if images else 2, 1, budget_mb=1, images=images)
    first = 0
    for lengths in iterations:
        replay.add(trials(lengths, first=first, images=images))
        first += len(lengths)
    return replay


def draw(replay, n=200, *, seed=0, longest=None):
    return replay.sample(n, torch.Generator().manual_seed(seed), longest=longest)


def drawn_trials(replay, **options):
    """Each drawn trial as the numbers and steps of its transitions."""
    batch = draw(replay, **options)
    return [
        tuple((int(number), int(step)) for number, step in row[mask][:, :2].tolist())
        for row, mask in zip(batch.observation, batch.mask, strict=True)
    ]


def whole(number, length):
    return tuple((number, step) for step in range(length))


@pytest.mark.parametrize("images", [False, True])
def test_whole_trials_are_drawn_in_order_with_their_padding_at_the_end(images):
    replay = filled([3, 5], [1], images=images)
    assert set(drawn_trials(replay)) == {whole(0, 3), whole(1, 5), whole(2, 1)}
    mask = draw(replay).mask
    assert mask.shape == (200, 5)
    assert (mask.int().diff(dim=1) <= 0).all()


def test_every_trial_is_as_likely_however_long_it_is():
    counts = dict.fromkeys((whole(0, 2), whole(1, 8), whole(2, 4)), 0)
    for trial in drawn_trials(filled([2, 8, 4]), n=9_000):
        counts[trial] += 1
    assert list(counts.values()) == pytest.approx([3_000] * 3, rel=0.1)


def test_parts_of_trials_are_learnt_from_with_the_transition_after_them():
    batch = draw(filled([2, 8, 3]), longest=4, n=2_000)
    lengths = {0: 2, 1: 8, 2: 3}
    assert batch.mask.shape == (2_000, 5)
    found = set()
    for row, mask, learnt in zip(batch.observation, batch.mask, batch.learnt, strict=True):
        steps, number = row[mask][:, 1].int().tolist(), int(row[0, 0])
        assert set(row[mask][:, 0].tolist()) == {number}
        assert steps == list(range(steps[0], steps[-1] + 1))
        n_learnt = int(learnt.sum())
        assert learnt.tolist() == [place < n_learnt for place in range(5)]
        # All of what is learnt from, and the transition after it where the trial has one.
        assert steps[-1] == min(steps[0] + n_learnt, lengths[number] - 1)
        found.add((number, steps[0], n_learnt))
    inside = {(1, first, 4) for first in range(5)}
    begins = {(1, 0, n) for n in (1, 2, 3)} | {(0, 0, 1), (0, 0, 2), (2, 0, 1), (2, 0, 2), (2, 0, 3)}
    ends = {(1, 8 - n, n) for n in (1, 2, 3)} | {(0, 1, 1), (2, 1, 2), (2, 2, 1)}
    assert found == inside | begins | ends


@pytest.mark.parametrize("longest", [1, 4, 30])
def test_every_transition_is_as_likely_to_be_learnt_from(longest):
    batch = draw(filled([2, 9, 1, 4]), longest=longest, n=20_000)
    counts = Counter(map(tuple, batch.observation[batch.learnt].int().tolist()))
    expected = longest * 20_000 / sum(length + longest - 1 for length in (2, 9, 1, 4))
    assert set(counts) == {*whole(0, 2), *whole(1, 9), *whole(2, 1), *whole(3, 4)}
    assert list(counts.values()) == pytest.approx([expected] * 16, rel=0.1)


def test_a_transitions_parts_stay_together():
    batch = draw(filled([4, 3], [5], capacity=10))
    step = batch.observation[..., 1][batch.mask]
    assert torch.equal(batch.action[batch.mask][:, 0], step + 0.5)
    assert torch.equal(batch.reward[batch.mask], step)
    assert torch.equal(batch.training_reward[batch.mask], step + TRAINING_OFFSET)
    number = batch.observation[..., 0][batch.mask]
    assert torch.equal(batch.ended[batch.mask], step % 2 == 1)
    assert torch.equal(batch.terminated[batch.mask], (step % 2 == 1) & (number % 2 == 0))
    assert {part.dtype for part in (batch.ended, batch.terminated, batch.mask, batch.learnt)} == {torch.bool}
    assert torch.equal(batch.learnt, batch.mask)


def test_images_come_back_as_the_bytes_that_went_in():
    batch = draw(filled([4, 3], [5], capacity=10, images=True))
    assert batch.observation.dtype == torch.uint8
    rows = batch.observation[batch.mask].int()
    assert torch.equal(rows[:, 2], 7 * rows[:, 1] + rows[:, 0])


@settings(max_examples=60)
@given(
    capacity=st.integers(6, 12),
    added=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=2).filter(any), min_size=1, max_size=8),
)
def test_a_ring_gives_what_a_list_of_the_newest_would(capacity, added):
    replay = filled(*added, capacity=capacity)
    lengths = [length for iteration in added for length in iteration]
    held, room = set(), capacity
    for number, length in reversed(list(enumerate(lengths))):
        room -= length
        if room < 0:
            break
        held |= {whole(number, length)} if length else set()
    assert replay.n_trials == len(held)
    assert set(drawn_trials(replay, n=300)) == held


def test_what_does_not_fit_is_refused_and_leaves_the_replay_as_it_was():
    replay = filled([3], capacity=5)
    before = {name: tensor.clone() for name, tensor in replay.tensors().items()}
    with pytest.raises(
        ValueError, match=r"trials of 6 transitions do not fit .* of 5; raise training\.replay_capacity"
    ):
        replay.add(trials([3, 3]))
    assert all(torch.equal(before[name], tensor) for name, tensor in replay.tensors().items())


def test_a_replay_that_holds_nothing_says_so():
    with pytest.raises(ValueError, match="holds no trials"):
        draw(TrialReplay(5, 2, 1, budget_mb=1))


@pytest.mark.parametrize(("images", "width"), [(False, 4 * (12_288 + 1 + 3)), (True, 12_288 + 4 * (1 + 3))])
def test_a_replay_over_its_budget_is_refused_before_memory_is_taken(images, width, monkeypatch):
    def taken(*size, **_):
        raise AssertionError(f"memory of size {size} was taken")

    monkeypatch.setattr(torch, "zeros", taken)
    needed = 100_000 * width / MIB
    with pytest.raises(MemoryError, match=rf"100000 transitions needs {needed:.0f} MiB.* is 100 MiB"):
        TrialReplay(100_000, 12_288, 1, budget_mb=100, images=images)


@pytest.mark.parametrize("images", [False, True])
def test_the_figure_that_is_held_against_the_budget_is_what_the_store_takes(images):
    replay = filled([10, 10], capacity=20, images=images)
    held = replay.tensors()
    stored = [held[name] for name in ("store", "images") if name in held]
    assert replay.n_bytes == sum(tensor.numel() * tensor.element_size() for tensor in stored)


@pytest.mark.parametrize("added", [[], [[3]], [[4, 4], [2]], [[5, 5], [5, 4]]])
def test_a_replay_taken_over_gives_the_same_draws_and_goes_on_alike(added):
    original, copy = filled(*added, capacity=10), filled([4, 3], capacity=10)
    copy.load_tensors({name: tensor.clone() for name, tensor in original.tensors().items()})
    for replay in (original, copy):
        replay.add(trials([1, 3], first=20))
    one, other = draw(original), draw(copy)
    assert torch.equal(one.mask, other.mask)
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine[one.mask], theirs[one.mask])


def test_a_checkpoint_holds_only_the_filled_part():
    assert filled([3], capacity=1000).tensors()["store"].shape[0] == 3


@pytest.mark.parametrize(
    "other",
    [
        TrialReplay(9, 3, 1, budget_mb=1),
        TrialReplay(9, 2, 2, budget_mb=1),
        TrialReplay(8, 2, 1, budget_mb=1),
        TrialReplay(11, 2, 1, budget_mb=1),
        TrialReplay(9, 2, 1, budget_mb=1, images=True),
    ],
    ids=["observation width", "action width", "smaller", "larger", "images"],
)
def test_a_replay_of_another_shape_is_not_taken_over(other):
    before = {name: tensor.clone() for name, tensor in other.tensors().items()}
    with pytest.raises(ValueError, match="saved replay"):
        other.load_tensors(filled([4, 4], [3], capacity=9).tensors())
    assert all(torch.equal(before[name], tensor) for name, tensor in other.tensors().items())


def small_model(**training):
    collection = {"total_steps": 400, "n_train_tasks": 4, "initial_episodes": 2, "meta_batch": 3}
    config = RecurrentSACConfig(
        agent=RecurrentSACAgentConfig(memory_width=6, hidden_sizes=(8,)),
        training=TrialReplayConfig(**collection | training),
        evaluation=EvaluationConfig(n_test_tasks=2, exploration_episodes=1, episodes=2, interval=1_000),
    )
    return MetaLearner(Counting(), config)


@pytest.mark.parametrize("policy", ["random", "steady"])
def test_the_initial_episodes_are_a_trial_of_each_task_by_the_policy_that_is_asked_for(policy):
    model = small_model(initial_policy=policy, tasks_per_iteration=1, gradient_steps_per_env_step=0.0)
    model.training.iterate()
    assert model.num_timesteps == 4 * 2 * LENGTH
    batch = draw(model.training.replay)
    assert model.training.replay.n_trials == 4
    assert batch.mask.all()
    held = (batch.action[:, 1:LENGTH] == batch.action[:, :1]).all()
    assert held == (policy == "steady")
    model.training.iterate()
    assert model.num_timesteps == 5 * 2 * LENGTH


def test_by_default_a_random_policy_plays_whole_trials_for_a_tenth_of_training():
    model = small_model(initial_episodes=None, tasks_per_iteration=1, episodes_per_trial=3)
    while model.num_timesteps < 40:
        assert model.training.gradient_steps == 0
        before = model.num_timesteps
        model.training.iterate()
        assert model.num_timesteps == before + 3 * LENGTH
    assert model.training.gradient_steps > 0


@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_gradient_steps_keep_pace_with_environment_steps(rate):
    model = small_model(gradient_steps_per_env_step=rate)
    for _ in range(4):
        model.training.iterate()
        assert model.training.gradient_steps == pytest.approx(rate * model.num_timesteps, abs=1)


def test_a_gradient_step_is_on_as_many_trials_as_are_asked_for():
    model = small_model(meta_batch=7)
    batches, update = [], model.agent.update
    model.agent.update = lambda batch, rng: batches.append(batch) or update(batch, rng)
    model.training.iterate()
    assert {batch.mask.shape for batch in batches} == {(7, 2 * LENGTH)}


def test_a_gradient_step_is_on_parts_of_trials_where_they_have_a_length():
    model = small_model(sequence_length=3)
    batches, update = [], model.agent.update
    model.agent.update = lambda batch, rng: batches.append(batch) or update(batch, rng)
    model.training.iterate()
    assert max(int(batch.learnt.sum(1).max()) for batch in batches) == 3
    assert max(batch.mask.shape[1] for batch in batches) == 4


@pytest.mark.usefixtures("one_thread")
def test_a_replay_that_went_round_resumes_bit_for_bit(tmp_path):
    settings = {"replay_capacity": 41, "tasks_per_iteration": 3}
    unbroken, first = small_model(**settings).learn(200), small_model(**settings).learn(100)
    assert int(first.training.replay.n_added) > 41
    first.save(tmp_path)
    resumed = pearl.load(tmp_path, distribution=Counting())
    resumed.learn(200 - resumed.num_timesteps)
    assert differences(everything_learnt(unbroken), everything_learnt(resumed)) == []


def test_a_replay_over_its_budget_is_refused_when_the_model_is_made():
    with pytest.raises(MemoryError, match=r"replay_budget_mb\) is 1 MiB"):
        small_model(replay_capacity=10_000_000, replay_budget_mb=1)


@pytest.mark.parametrize("family", ["point-robot", "image-point-robot", "cheetah-vel", "no-such-family"])
def test_a_familys_replay_is_as_large_as_pearls_and_its_first_trials_as_long_as_the_later_ones(family):
    found, usual = preset(RecurrentSACConfig, family).training, load_preset(family).training
    assert found.replay_capacity == (usual.replay_capacity or CAPACITY) * (usual.n_train_tasks or FEWEST_TASKS)
    assert found.replay_budget_mb == usual.replay_budget_mb
    assert found.initial_episodes == found.episodes_per_trial
