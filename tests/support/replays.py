"""Replays of known content: trials whose transitions tell where they come from."""

from collections.abc import Iterable, Sequence

import numpy as np

from pearl.collection.rollout import Trajectories
from pearl.replay.transitions import TaskReplay

TRAINING_OFFSET = 1000.0


def trials(lengths: Sequence[int], *, number: int = 0, ids: Iterable[int] | None = None) -> Trajectories:
    """One trial of each task, its transitions told apart by task, trial number and step; the padding is rubbish."""
    ids = range(len(lengths)) if ids is None else ids
    width = max(1, *lengths) + 1
    shape = (len(lengths), width)
    step = np.broadcast_to(np.arange(width, dtype=np.float32), shape)
    mask = step < np.array(lengths)[:, None]
    task = np.broadcast_to(np.array(list(ids), np.float32)[:, None], shape)
    observation = np.stack([task, np.full(shape, number, np.float32), step], axis=-1)
    terminated = step == np.array(lengths)[:, None] - 1
    return Trajectories(
        observation=np.where(mask[..., None], observation, np.nan),
        action=np.where(mask[..., None], observation[..., 1:] + 0.5, np.nan),
        reward=np.where(mask, step, np.nan).astype(np.float32),
        training_reward=np.where(mask, step + TRAINING_OFFSET, np.nan).astype(np.float32),
        next_observation=np.where(mask[..., None], observation + np.array([0, 0, 1]), np.nan).astype(np.float32),
        terminated=terminated,
        truncated=~mask,
        episode=np.zeros(shape, np.int64),
        mask=mask,
        extras={},
    )


def filled(lengths_of_trials: Iterable[int], *, capacity: int, n_tasks: int = 1) -> TaskReplay:
    """A replay after several trials of every task, each of the length that is given."""
    replay = TaskReplay(n_tasks, capacity, 3, 2, budget_mb=1)
    for number, length in enumerate(lengths_of_trials):
        replay.add(range(n_tasks), trials([length] * n_tasks, number=number))
    return replay
