"""Worker processes return what one process would, and are gone once they are closed."""

import gc

import numpy as np
import pytest

from pearl.collection.workers import WorkerError, WorkerVectorEnv
from tests.support.collection.worker_envs import DrawnTasks, GymTasks
from tests.support.collection.worker_processes import (
    alive,
    ended,
    needs_proc,
)

pytestmark = needs_proc


def assert_same(one, other):
    """The same types, dtypes and values, however nested."""
    assert type(one) is type(other), (one, other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if one.dtype == object:
            assert_same(tuple(one), tuple(other))
        else:
            np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def play_both(distribution, start, *, n_tasks=5, n_workers=3, steps=25):
    """Play several episodes of uneven length in workers and in this process; each answer must be the same."""
    envs, _ = start(distribution, n_tasks, n_workers)
    reference = distribution.make_vec_env(distribution.sample(n_tasks, None))
    for name in ("num_envs", "metadata", "render_mode", "single_observation_space", "single_action_space"):
        assert getattr(envs, name) == getattr(reference, name), name
    assert (envs.observation_space, envs.action_space) == (reference.observation_space, reference.action_space)
    reference.action_space.seed(0)
    assert_same(envs.reset(seed=3), reference.reset(seed=3))
    resets = 0
    for _ in range(steps):
        actions = reference.action_space.sample()
        answer, expected = envs.step(actions), reference.step(actions)
        assert_same(answer, expected)
        ends = expected[2] | expected[3]
        if ends.any():
            resets += 1
            options = {"level": resets}
            assert_same(
                envs.reset(options=options | {"reset_mask": ends}),
                reference.reset(options=options | {"reset_mask": ends}),
            )
    assert resets > 2
    reference.close()


@pytest.mark.parametrize(
    ("observations", "actions"),
    [
        ("image", "box"),
        ("dict", "discrete"),
        ("tuple", "multi-discrete"),
        ("discrete", "multi-binary"),
        ("text", "dict"),
    ],
)
def test_workers_return_what_one_process_returns(observations, actions, started):
    play_both(DrawnTasks(observations, actions), started)


@pytest.mark.parametrize(("identifier", "horizon"), [("CartPole-v1", 30), ("Pendulum-v1", 4)])
def test_workers_step_gymnasiums_own_environments_alike(identifier, horizon, started):
    play_both(GymTasks(identifier, horizon), started, n_tasks=4, n_workers=2, steps=60)


@pytest.mark.parametrize("n_workers", [1, 9])
def test_there_are_no_more_workers_than_tasks(n_workers, started):
    envs, pids = started(DrawnTasks(), 3, n_workers)
    assert len(pids) == min(3, n_workers)
    assert envs.reset(seed=0)[0].shape == (3, 2, 16, 17, 3)


def test_a_reset_by_mask_leaves_the_others_where_they_are(started):
    distribution = DrawnTasks("dict")
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    assert_same(envs.reset(seed=[5, None, 7, 8])[1], reference.reset(seed=[5, None, 7, 8])[1])
    before = envs.reset(seed=1)[0]
    mask = np.array([False, True, False, False])
    after, infos = envs.reset(seed=9, options={"reset_mask": mask})
    for name in before:
        assert (after[name][~mask] == before[name][~mask]).all()
    assert infos == {"each": [{}, {"options": "{}", "seed": 10}, {}, {}]}


def test_what_is_returned_is_the_callers_own(started):
    envs, _ = started(DrawnTasks())
    first = envs.reset(seed=0)[0]
    kept = first.copy()
    first[:] = 0
    again = envs.reset(options={"reset_mask": np.array([False, False, False, True])})[0]
    assert (again[:3] == kept[:3]).all()


@pytest.mark.parametrize(
    ("mask", "error"),
    [([True] * 4, TypeError), (np.ones(4), TypeError), (np.ones(3, bool), ValueError), (np.zeros(4, bool), ValueError)],
)
def test_a_mask_is_refused_as_one_process_refuses_it(mask, error, started):
    distribution = DrawnTasks()
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    for vector in (reference, envs):
        vector.reset(seed=0)
        with pytest.raises(error, match="reset_mask"):
            vector.reset(options={"reset_mask": mask})
    envs.step(envs.action_space.sample())


def test_what_cannot_be_asked_changes_nothing(started):
    envs, _ = started(DrawnTasks())
    with pytest.raises(ValueError, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False, False, False])})
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="4 actions, one per environment, got 3"):
        envs.step(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="4 seeds"):
        envs.reset(seed=[1, 2])
    envs.step(envs.action_space.sample())


def test_an_episode_that_has_ended_is_not_stepped_on(started):
    distribution = DrawnTasks()
    envs, _ = started(distribution)
    reference = distribution.make_vec_env(distribution.sample(4, None))
    for vector in (envs, reference):
        vector.reset(seed=0)
        for _ in range(2):
            _, _, terminated, _, _ = vector.step(np.zeros((4, 2), np.float32))
        assert terminated.tolist() == [True, False, False, False]
        with pytest.raises(AssertionError):
            vector.step(np.zeros((4, 2), np.float32))
    envs.reset(options={"reset_mask": terminated})
    envs.step(np.zeros((4, 2), np.float32))


def test_closing_leaves_no_process_and_a_later_use_is_an_error(started):
    envs, pids = started(DrawnTasks())
    assert all(map(alive, pids))
    envs.close()
    envs.close()
    assert ended(pids)
    for use in (lambda: envs.reset(seed=0), lambda: envs.step(np.zeros((4, 2)))):
        with pytest.raises(WorkerError, match=r"closed: close\(\) was called"):
            use()


def test_collecting_the_garbage_ends_the_workers():
    envs = WorkerVectorEnv(DrawnTasks(), DrawnTasks().sample(4, None), 2)
    pids = [worker.process.pid for worker in envs._workers]
    del envs
    gc.collect()
    assert ended(pids)
