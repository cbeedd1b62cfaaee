"""The replay keeps images as bytes, beside the rows of everything else."""

import numpy as np
import pytest
import torch

from pearl.collection.rollout import Trajectories
from pearl.replay.transitions import MIB, TaskReplay

PIXELS = 4 * 3 * 2


def image_of(task, trial, step, after):
    """Pixels that tell where they come from; the padding's do not."""
    pixels = np.arange(PIXELS) * 7
    return (pixels + 101 * task + 37 * trial + 11 * (step + after)).astype(np.uint8)


def trials(lengths, *, number=0):
    """One trial of each task, padded to one more than the longest."""
    width = max(lengths) + 1
    shape = (len(lengths), width)
    step = np.broadcast_to(np.arange(width), shape)
    mask = step < np.array(lengths)[:, None]
    sides = []
    for after in (0, 1):
        images = np.full((*shape, PIXELS), 255, np.uint8)
        for task, length in enumerate(lengths):
            for row in range(length):
                images[task, row] = image_of(task, number, row, after)
        sides.append(images)
    reward = np.where(mask, step, np.nan).astype(np.float32)
    return Trajectories(
        observation=sides[0],
        action=np.where(mask, number, np.nan)[..., None].astype(np.float32),
        reward=reward,
        training_reward=reward + 100,
        next_observation=sides[1],
        terminated=np.zeros(shape, np.bool_),
        truncated=step == np.array(lengths)[:, None] - 1,
        episode=np.zeros(shape, np.int64),
        mask=mask,
        extras={},
    )


def filled(*lengths_of_trials, capacity=10, n_tasks=2):
    replay = TaskReplay(n_tasks, capacity, PIXELS, 1, budget_mb=1, images=True)
    for number, lengths in enumerate(lengths_of_trials):
        replay.add(range(n_tasks), trials(lengths, number=number))
    return replay


def draw(replay, *, batch_size=50, max_context=6, seed=0):
    return replay.sample(torch.tensor([0, 1]), batch_size, max_context, torch.Generator().manual_seed(seed))


def test_a_transitions_images_come_back_as_the_bytes_that_went_in_and_stay_with_it():
    batch = draw(filled([4, 3], [5, 6], capacity=8))
    for part, rewards_less in ((batch.context, 0), (batch.transitions, 100)):
        assert part.observation.dtype == part.next_observation.dtype == torch.uint8
        rows = batch.context.mask if part is batch.context else torch.ones_like(part.reward, dtype=torch.bool)
        assert rows.any()
        for task, step in rows.nonzero().tolist():
            trial = int(part.action[task, step, 0])
            number = int(part.reward[task, step]) - rewards_less
            assert np.array_equal(part.observation[task, step].numpy(), image_of(task, trial, number, 0))
            assert np.array_equal(part.next_observation[task, step].numpy(), image_of(task, trial, number, 1))


def test_every_transition_that_is_held_is_drawn_and_none_that_is_evicted():
    batch = draw(filled([4, 3], [5, 6], capacity=8), batch_size=2000).transitions
    found = [
        {(int(action), int(reward) - 100) for action, reward in zip(*row, strict=True)}
        for row in zip(batch.action[..., 0].tolist(), batch.reward.tolist(), strict=True)
    ]
    newest = [[(1, step) for step in range(length)] for length in (5, 6)]
    assert found[0] == {(0, 1), (0, 2), (0, 3), *newest[0]}
    assert found[1] == {(0, 1), (0, 2), *newest[1]}


def test_a_replay_of_vectors_holds_no_images():
    replay = TaskReplay(2, 5, 3, 1, budget_mb=1)
    assert set(replay.tensors()) == {"n_added", "store", "trial_start"}


def test_the_figure_that_is_held_against_the_budget_counts_the_bytes_of_the_images():
    replay = filled([10, 10])
    held = replay.tensors()
    taken = sum(held[name].numel() * held[name].element_size() for name in ("store", "images", "trial_start"))
    # Two images of a byte a pixel; action, two rewards and termination of 4 bytes; a trial's start of 8.
    assert replay.n_bytes == taken == 2 * 10 * (2 * PIXELS + 4 * 4 + 8)


def test_images_over_the_budget_are_refused_before_memory_is_taken(monkeypatch):
    def taken(*size, **_):
        raise AssertionError(f"memory of size {size} was taken")

    monkeypatch.setattr(torch, "zeros", taken)
    mebibytes = 100 * 1000 * (2 * 64 * 64 * 3 + 24) / MIB
    with pytest.raises(MemoryError, match=rf"100 tasks x 1000 .* {mebibytes:.0f} MiB.* is 1024 MiB. Lower training"):
        TaskReplay(100, 1000, 64 * 64 * 3, 1, budget_mb=1024, images=True)


@pytest.mark.parametrize("lengths", [[], [[3, 2]], [[6, 6], [6, 6]]])
def test_a_replay_taken_over_gives_the_same_draws_and_goes_on_alike(lengths):
    original, copy = filled(*lengths), filled([2, 4])
    saved = {name: tensor.clone() for name, tensor in original.tensors().items()}
    assert saved["images"].dtype == torch.uint8
    assert saved["images"].shape == (2, int(original.size().max()), 2, PIXELS)
    copy.load_tensors(saved)
    for replay in (original, copy):
        replay.add(range(2), trials([1, 3], number=9))
    one, other = draw(original), draw(copy)
    for mine, theirs in zip(one.transitions, other.transitions, strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(one.context, other.context, strict=True):
        assert torch.equal(mine[one.context.mask], theirs[other.context.mask])


def test_saved_images_of_another_size_are_not_taken_over_and_leave_the_replay_as_it_was():
    smaller = TaskReplay(2, 10, PIXELS // 2, 1, budget_mb=1, images=True)
    with pytest.raises(ValueError, match="saved replay"):
        smaller.load_tensors(filled([4, 4]).tensors())
    assert smaller.size().tolist() == [0, 0]


def test_a_replay_of_vectors_is_not_taken_over_by_one_of_images():
    vectors = TaskReplay(2, 10, PIXELS, 1, budget_mb=1)
    with pytest.raises(ValueError, match="saved replay"):
        vectors.load_tensors(filled([4, 4]).tensors())
