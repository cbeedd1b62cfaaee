"""The replay holds each task's newest transitions, and its contexts are what an agent had seen of one trial."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pearl.replay.transitions import MIB, TaskReplay
from tests.support.replays import TRAINING_OFFSET, filled, trials


def draw(replay, n, *, batch_size=1, max_context=50, recent=None, task=0, seed=0):
    """``n`` meta-batches of one task, drawn at once as ``n`` rows."""
    ids = torch.full((n,), task)
    return replay.sample(ids, batch_size, max_context, torch.Generator().manual_seed(seed), recent=recent)


def contexts(replay, n=2000, **options):
    """Drawn contexts, each a list of (trial, step)."""
    context = draw(replay, n, **options).context
    return [
        [(int(trial), int(step)) for _, trial, step in row[mask].tolist()]
        for row, mask in zip(context.observation, context.mask, strict=True)
    ]


def test_a_context_is_a_trials_beginning_in_order_and_without_repeats():
    for drawn in contexts(filled([6, 4], capacity=20)):
        trial = drawn[0][0]
        assert drawn == [(trial, step) for step in range(len(drawn))]


def test_context_lengths_are_uniform_over_one_to_the_trials_length():
    lengths = np.bincount([len(drawn) for drawn in contexts(filled([5], capacity=20), n=10_000)], minlength=7)
    assert lengths[0] == lengths[6] == 0
    assert lengths[1:6] == pytest.approx(2000, rel=0.1)


def test_every_trial_of_a_task_gives_contexts():
    assert {drawn[0][0] for drawn in contexts(filled([3, 3, 3], capacity=20))} == {0, 1, 2}


def test_of_a_context_longer_than_the_longest_the_newest_transitions_count():
    drawn = contexts(filled([6], capacity=20), max_context=2)
    assert {tuple(step for _, step in context) for context in drawn} == {(0,), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5)}


def test_a_context_is_padded_to_the_longest_whatever_the_trials_are():
    batch = draw(filled([3], capacity=20), 5, max_context=7)
    assert batch.context.observation.shape == (5, 7, 3)
    assert batch.context.action.shape == (5, 7, 2)
    assert batch.context.reward.shape == batch.context.mask.shape == (5, 7)
    assert batch.context.next_observation.shape == (5, 7, 3)


def test_contexts_end_in_the_recent_window_and_reach_back_to_their_trials_start():
    drawn = contexts(filled([4, 4], capacity=20), recent=2)
    assert {tuple(context) for context in drawn} == {
        tuple((1, step) for step in range(3)),
        tuple((1, step) for step in range(4)),
    }


def test_a_recent_window_wider_than_what_is_held_is_everything_that_is_held():
    drawn = contexts(filled([2], capacity=20), recent=100)
    assert {len(context) for context in drawn} == {1, 2}


def test_the_recent_window_does_not_narrow_the_transitions():
    batch = draw(filled([4, 4], capacity=20), 1, batch_size=500, recent=1)
    assert len(batch.transitions.observation[0].unique(dim=0)) == 8


def test_a_context_never_reaches_into_what_was_evicted():
    drawn = contexts(filled([3, 4], capacity=5))
    assert {tuple(context) for context in drawn} == {
        ((0, 2),),
        *(tuple((1, step) for step in range(length)) for length in range(1, 5)),
    }


def test_a_context_never_reaches_into_another_task():
    replay = TaskReplay(3, 4, 3, 2, budget_mb=1)
    for number in range(5):
        replay.add([0, 1, 2], trials([1, 2, 3], number=number))
    for task in range(3):
        batch = draw(replay, 200, batch_size=3, task=task)
        assert set(batch.context.observation[..., 0][batch.context.mask].tolist()) == {task}
        assert set(batch.transitions.observation[..., 0].flatten().tolist()) == {task}


def test_a_context_has_the_true_reward_and_the_transitions_have_the_training_reward():
    batch = draw(filled([4], capacity=20), 50, batch_size=10)
    context, transitions = batch.context, batch.transitions
    assert torch.equal(context.reward[context.mask], context.observation[..., 2][context.mask])
    assert torch.equal(transitions.reward, transitions.observation[..., 2] + TRAINING_OFFSET)


def test_a_transitions_parts_stay_together():
    batch = draw(filled([4, 3], capacity=5), 50, batch_size=10)
    for part, rows in ((batch.context, batch.context.mask), (batch.transitions, ...)):
        observation, action, following = part.observation[rows], part.action[rows], part.next_observation[rows]
        assert torch.equal(action, observation[..., 1:] + 0.5)
        assert torch.equal(following, observation + torch.tensor([0.0, 0.0, 1.0]))


def test_the_transitions_say_where_the_task_terminated():
    transitions = draw(filled([4], capacity=20), 20, batch_size=10).transitions
    assert torch.equal(transitions.terminated, (transitions.observation[..., 2] == 3).float())


def test_padding_is_neither_stored_nor_drawn():
    replay = TaskReplay(2, 8, 3, 2, budget_mb=1)
    replay.add([0, 1], trials([5, 2]))
    assert replay.size().tolist() == [5, 2]
    batch = replay.sample(torch.tensor([0, 1]), 100, 8, torch.Generator().manual_seed(0))
    for part in (*batch.context, *batch.transitions):
        assert torch.isfinite(part.float()).all()
    assert batch.transitions.observation[1, :, 2].max() == 1


def test_trials_of_chosen_tasks_are_appended_to_those_tasks():
    replay = TaskReplay(4, 8, 3, 2, budget_mb=1)
    replay.add([3, 1], trials([2, 3], ids=[3, 1]))
    assert replay.size().tolist() == [0, 3, 0, 2]
    assert set(draw(replay, 20, task=3).transitions.observation[..., 0].flatten().tolist()) == {3}


def test_the_transitions_are_drawn_uniformly_from_all_that_is_held():
    rows = draw(filled([4, 4, 4], capacity=10), 1, batch_size=50_000).transitions.observation[0]
    held, counts = rows[:, 1:].unique(dim=0, return_counts=True)
    assert held.tolist() == [[0, 2], [0, 3], *([trial, step] for trial in (1, 2) for step in range(4))]
    assert counts.numpy() == pytest.approx(5000, rel=0.1)


def test_a_draw_follows_from_its_generator_alone():
    replay = filled([4, 4], capacity=6)
    torch.manual_seed(0)
    one = draw(replay, 10, batch_size=4)
    torch.manual_seed(1)
    other = draw(replay, 10, batch_size=4)
    later = draw(replay, 10, batch_size=4, seed=1)
    assert torch.equal(one.transitions.observation, other.transitions.observation)
    assert torch.equal(one.context.mask, other.context.mask)
    assert not torch.equal(one.transitions.observation, later.transitions.observation)


lengths_of_two_tasks = st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any)


@settings(max_examples=60)
@given(
    capacity=st.integers(6, 9),
    added=st.lists(lengths_of_two_tasks, min_size=1, max_size=9),
    max_context=st.integers(1, 7),
    recent=st.none() | st.integers(1, 10),
)
def test_a_ring_gives_what_a_list_of_the_newest_would(capacity, added, max_context, recent):
    replay = TaskReplay(2, capacity, 3, 2, budget_mb=1)
    lists: list[list[Any]] = [[], []]
    for number, lengths in enumerate(added):
        replay.add([0, 1], trials(lengths, number=number))
        for task, length in enumerate(lengths):
            lists[task] = (lists[task] + [(number, step) for step in range(length)])[-capacity:]
    assert replay.size().tolist() == [len(held) for held in lists]
    for task, held in enumerate(lists):
        if not held:
            continue
        possible = set()
        for end in range(max(0, len(held) - (recent or len(held))), len(held)):
            seen = [row for row in held[: end + 1] if row[0] == held[end][0]]
            possible.add(tuple(seen[-max_context:]))
        drawn = contexts(replay, n=300, task=task, max_context=max_context, recent=recent)
        assert {tuple(context) for context in drawn} == possible
        rows = draw(replay, 300, task=task).transitions.observation[:, 0, 1:].int().tolist()
        assert {tuple(row) for row in rows} == set(held)


def test_a_replay_over_its_budget_is_refused_before_memory_is_taken(monkeypatch):
    def taken(*size, **_):
        raise AssertionError(f"memory of size {size} was taken")

    monkeypatch.setattr(torch, "zeros", taken)
    n_bytes = 1000 * 10_000 * (4 * (3 + 2 + 3 + 3) + 8)
    with pytest.raises(MemoryError, match=rf"1000 tasks x 10000 .* {n_bytes / MIB:.0f} MiB.* is 100 MiB"):
        TaskReplay(1000, 10_000, 3, 2, budget_mb=100)


def test_the_figure_that_is_held_against_the_budget_is_what_the_store_takes():
    replay = filled([60, 60], capacity=100, n_tasks=3)
    held = replay.tensors()
    taken = sum(held[name].numel() * held[name].element_size() for name in ("store", "trial_start"))
    assert replay.n_bytes == taken


def test_a_task_that_holds_nothing_is_named():
    replay = TaskReplay(3, 8, 3, 2, budget_mb=1)
    replay.add([1], trials([2], ids=[1]))
    with pytest.raises(ValueError, match=r"Tasks \[0, 2\] hold no transitions"):
        replay.sample(torch.tensor([0, 1, 2]), 4, 4, torch.Generator())


def test_a_trial_longer_than_the_capacity_is_refused_and_leaves_the_replay_as_it_was():
    replay = filled([3], capacity=5)
    before = {name: tensor.clone() for name, tensor in replay.tensors().items()}
    with pytest.raises(ValueError, match=r"trial of 6 .* 5 per task.*replay_capacity"):
        replay.add([0], trials([6]))
    assert all(torch.equal(before[name], tensor) for name, tensor in replay.tensors().items())


@pytest.mark.parametrize("lengths", [[], [3], [5], [4, 4], [5, 5, 5]])
def test_a_replay_taken_over_gives_the_same_draws_and_goes_on_alike(lengths):
    original = filled(lengths, capacity=5, n_tasks=2)
    copy = filled([2, 4], capacity=5, n_tasks=2)
    copy.load_tensors({name: tensor.clone() for name, tensor in original.tensors().items()})
    for replay in (original, copy):
        replay.add([0, 1], trials([1, 3], number=9))
    assert torch.equal(original.size(), copy.size())
    for task in range(2):
        one, other = draw(original, 200, task=task, batch_size=5), draw(copy, 200, task=task, batch_size=5)
        assert torch.equal(one.context.mask, other.context.mask)
        for mine, theirs in zip(one.context, other.context, strict=True):
            assert torch.equal(mine[one.context.mask], theirs[one.context.mask])
        for mine, theirs in zip(one.transitions, other.transitions, strict=True):
            assert torch.equal(mine, theirs)


def test_a_checkpoint_holds_only_the_filled_part():
    assert filled([3], capacity=1000).tensors()["store"].shape[1] == 3


@pytest.mark.parametrize(
    "other",
    [
        TaskReplay(2, 5, 3, 2, budget_mb=1),
        TaskReplay(1, 5, 4, 2, budget_mb=1),
        TaskReplay(1, 5, 3, 1, budget_mb=1),
        TaskReplay(1, 4, 3, 2, budget_mb=1),
        TaskReplay(1, 7, 3, 2, budget_mb=1),
    ],
    ids=["tasks", "observation width", "action width", "smaller", "larger"],
)
def test_a_replay_of_another_shape_is_not_taken_over(other):
    before = {name: tensor.clone() for name, tensor in other.tensors().items()}
    with pytest.raises(ValueError, match="saved replay"):
        other.load_tensors(filled([4, 4], capacity=5).tensors())
    assert all(torch.equal(before[name], tensor) for name, tensor in other.tensors().items())
