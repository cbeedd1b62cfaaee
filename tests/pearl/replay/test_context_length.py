"""Contexts of random length: as many short ones as long ones, however long the trials are."""

import numpy as np
import pytest
import torch

from tests.support.replays import filled

LENGTH, LONGEST = 400, 64


def contexts(n, *, random_length):
    replay = filled([LENGTH], capacity=1000)
    rng = torch.Generator().manual_seed(0)
    for _ in range(n):
        yield replay.sample(torch.tensor([0]), 1, LONGEST, rng, random_length=random_length).context


def test_lengths_are_log_uniform():
    lengths = np.array([int(context.mask.sum()) for context in contexts(2000, random_length=True)])
    assert lengths.min() == 1
    assert lengths.max() == LONGEST
    # As many from 1 to 7 as from 8 to 64, but for the few contexts that a trial's start cuts.
    assert (lengths < np.sqrt(LONGEST + 1)).mean() == pytest.approx(0.5, abs=0.05)


def test_without_it_nearly_every_context_of_a_long_trial_is_as_long_as_may_be():
    lengths = np.array([int(context.mask.sum()) for context in contexts(500, random_length=False)])
    assert (lengths == LONGEST).mean() == pytest.approx(1 - (LONGEST - 1) / LENGTH, abs=0.05)


def test_a_cut_context_is_the_newest_of_the_trial_up_to_its_end_without_a_gap():
    for context in contexts(50, random_length=True):
        rewards = context.reward[0][context.mask[0]]
        assert torch.equal(rewards, torch.arange(float(rewards[0]), float(rewards[0]) + len(rewards)))
