"""One environment per task, in worker processes; for environments whose step takes longer than a message."""

import multiprocessing
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import chain
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from pearl.collection.worker_process import NAME_PREFIX, STOP_SIGNALS, Failed, work
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.infos import EnvError, merged
from pearl.tasks.vector_env import checked_reset_mask, prepare

GRACE_S = 5.0
"""Seconds that workers have to close their environments before they are killed"""


class WorkerError(EnvError):
    """An environment raised in a worker, a worker died or hangs, or the environments are closed; names the tasks."""


class _Worker(NamedTuple):
    number: int
    tasks: dict[int, Task]
    """The tasks by their rows, which are consecutive"""
    process: BaseProcess
    connection: Connection

    @property
    def rows(self) -> slice:
        return slice(min(self.tasks), max(self.tasks) + 1)

    def __str__(self) -> str:
        return f"Worker {self.number} (" + "; ".join(f"task {row}: {task}" for row, task in self.tasks.items()) + ")"


_Answer = tuple[Any, list[dict[str, Any]]]
"""Results of the environments, and the info of each, empty for those not reset"""


class WorkerVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """Like ``TaskVectorEnv``, but the environments run in worker processes.

    The mode is ``AutoresetMode.DISABLED``. Infos are per task as in ``TaskVectorEnv``, without values that cannot be
    pickled. Workers have copies of the distribution: a change that ``make_env`` makes to it stays in the worker. They
    are forked from a server that has only imported `pearl`: a fork of this process can deadlock in torch's threads, and
    a fresh interpreter takes seconds to import torch. As always with multiprocessing, a script must guard its code by
    ``if __name__ == "__main__":``.

    Args:
        distribution: builds the environments; it must be picklable.
        tasks: one environment per task, in this order.
        n_workers: number of processes, each with consecutive tasks; at most one process per task is started.
        timeout_s: seconds after which a worker that does not answer counts as hanging when it builds, resets or steps
            its environments; None for no limit. Closing always has the limit ``GRACE_S``.

    Raises:
        ValueError: there are no tasks or no workers.
        TypeError: the distribution cannot be pickled.
        WorkerError: an environment cannot be built, two tasks share one, or the tasks' spaces differ.
    """

    def __init__(
        self, distribution: TaskDistribution, tasks: Sequence[Task], n_workers: int, *, timeout_s: float | None = None
    ) -> None:
        self._workers: list[_Worker] = []
        # Not weakref.finalize: at exit it may run after multiprocessing, which then waits for all processes.
        self._end_workers = Finalize(self, _end, args=(self._workers,), exitpriority=10)
        self._closed_by = "close() was called"
        if n_workers < 1 or not tasks:
            raise ValueError(f"There must be tasks and workers, got {len(tasks)} tasks and {n_workers} workers.")
        self.num_envs = len(tasks)
        self._tasks = tuple(tasks)
        self._timeout_s = timeout_s
        pickled = _pickled(distribution)
        with self._closing_on_error():
            self._start(tasks, min(n_workers, len(tasks)))
            built = self._ask("build", {worker.number: (pickled, worker.tasks) for worker in self._workers})
            first = built[0][0]
            for worker, (own, _) in zip(self._workers, built.values(), strict=True):
                if own[:2] != first[:2]:
                    raise WorkerError(f"The tasks' spaces differ: task 0 has {first[:2]}, {worker} has {own[:2]}.")
        self.single_observation_space, self.single_action_space, self.metadata, self.render_mode = first
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observations: dict[int, Any] = {}
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those in ``options["reset_mask"]``, (task,) bool.

        Args:
            seed: environment i is seeded with ``seed + i``, or with item i of a sequence.
            options: options for each environment, without the mask.

        Returns:
            The observations of all environments, (task, …), and the infos of those that were reset.

        Raises:
            TypeError: the mask is not an array of bool.
            ValueError: the length of the mask or the seeds is wrong, the mask is all False, or the first reset has one.
            WorkerError: an environment raised, a worker died or hangs, or the environments are closed. All workers are
                ended.
        """
        self._check_open()
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"There must be {self.num_envs} seeds, one per environment, got {len(seed)}.")
        mask = checked_reset_mask(options, self.num_envs)
        parts = {}
        for worker in self._workers:
            own = mask[worker.rows]
            # SyncVectorEnv refuses a mask that is all False.
            if own.any():
                masked = options | {"reset_mask": own} if options and "reset_mask" in options else options
                parts[worker.number] = (list(seed[worker.rows]), masked)
            elif worker.number not in self._observations:
                raise ValueError("The first reset must reset all environments; leave reset_mask out.")
        answers = self._ask("reset", parts)
        self._ended[mask] = False
        return self._merged(answers)

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment, with actions (task, …).

        Returns:
            Observations, (task, …); rewards, terminations and truncations, each (task,); infos.

        Raises:
            AssertionError: an episode has ended and was not reset, as from ``SyncVectorEnv``; nothing was stepped.
            ValueError: the number of actions is not the number of environments.
            WorkerError: as from ``reset``.
        """
        self._check_open()
        if self._ended.any():
            raise AssertionError(f"The episodes of tasks {np.flatnonzero(self._ended)} have ended; reset them first.")
        parts = {
            worker.number: (_rows(self.single_action_space, actions, worker.rows, self.num_envs),)
            for worker in self._workers
        }
        answers = self._ask("step", parts)
        results = [result for result, _ in answers.values()]
        rewards, terminations, truncations = (np.concatenate([result[i] for result in results]) for i in (1, 2, 3))
        self._ended = terminations | truncations
        observations, infos = self._merged(answers)
        return observations, rewards, terminations, truncations, infos

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers, which close their environments first."""
        self._end_workers()

    def _start(self, tasks: Sequence[Task], n_workers: int) -> None:
        if "forkserver" in multiprocessing.get_all_start_methods():
            context: Any = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["__main__", "pearl.collection.worker_server", work.__module__])
            _start_server()
        else:
            context = multiprocessing.get_context("spawn")
        for number, rows in enumerate(np.array_split(np.arange(len(tasks)), n_workers)):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there,), name=f"{NAME_PREFIX}{number}")
            process.start()
            # If this process kept that end open too, the worker's death would not close the connection.
            there.close()
            self._workers.append(_Worker(number, {row: tasks[row] for row in rows.tolist()}, process, here))

    def _ask(self, method: str, parts: dict[int, tuple[Any, ...]]) -> dict[int, _Answer]:
        """Send each worker in ``parts`` its part of a call, then await the answers."""
        asked = [worker for worker in self._workers if worker.number in parts]
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        answers: dict[int, _Answer] = {}
        with self._closing_on_error():
            for worker in asked:
                # A worker's death and its cause are reported when its answer is awaited.
                with suppress(BrokenPipeError, ConnectionResetError):
                    worker.connection.send((method, parts[worker.number]))
            while pending := [worker for worker in asked if worker.number not in answers]:
                left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                handles = [handle for worker in pending for handle in (worker.connection, worker.process.sentinel)]
                ready = wait(handles, left_s)
                if not ready:
                    _refuse_to_wait(pending, method, self._timeout_s)
                for worker in pending:
                    if worker.connection in ready or worker.process.sentinel in ready:
                        answers[worker.number] = _received(worker, method)
        return dict(sorted(answers.items()))

    def _check_open(self) -> None:
        if self.closed:
            raise WorkerError(f"These environments are closed: {self._closed_by}")

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        # Also on Ctrl-C: an unread answer would be taken for the next one.
        except BaseException as error:
            self._closed_by = f"{type(error).__name__} {error}"
            self.close()
            raise

    def _merged(self, answers: dict[int, _Answer]) -> tuple[Any, dict[str, Any]]:
        each: list[dict[str, Any]] = [{} for _ in self._tasks]
        for number, (result, infos) in answers.items():
            self._observations[number] = result[0]
            each[self._workers[number].rows] = infos
        parts = [self._observations[worker.number] for worker in self._workers]
        return _joined(self.single_observation_space, parts), merged(each, self._tasks)


def _start_server() -> None:
    """Start the server that workers are forked from, with the stop signals blocked.

    Otherwise these signals would kill the server and its workers before they ignore them. Does nothing if the server
    runs already.
    """
    # Before the signals are blocked: starting the tracker would unblock them.
    resource_tracker.ensure_running()
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)


def make_envs(
    distribution: TaskDistribution, tasks: Sequence[Task], workers: int, worker_timeout_s: float | None = None
) -> VectorEnv[Any, Any, Any]:
    """Return one environment per task, stepped together in ``workers`` processes, or in this process if 0.

    Raises:
        EnvError: an environment cannot be built, its spaces differ from the others', or two tasks share it.
    """
    if workers > 0:
        return WorkerVectorEnv(distribution, tasks, workers, timeout_s=worker_timeout_s)
    envs = distribution.make_vec_env(tasks)
    prepare(envs, tasks)
    return envs


def _pickled(distribution: TaskDistribution) -> bytes:
    try:
        # Not multiprocessing's pickler: torch extends it so that only one process can load a tensor.
        return pickle.dumps(distribution)
    except Exception as error:
        raise TypeError(
            f"{type(distribution).__name__} cannot be pickled, as worker processes need ({error}). Define it at the "
            "top level of a module, with no lambda, file or environment in its attributes; or use make_vec_env(tasks)."
        ) from error


def _rows(space: gym.Space[Any], actions: Any, rows: slice, n: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _rows(inner, actions[name], rows, n) for name, inner in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_rows(inner, own, rows, n) for inner, own in zip(space.spaces, actions, strict=True))
    if len(actions) != n:
        raise ValueError(f"There must be {n} actions, one per environment, got {len(actions)}.")
    return actions[rows]


def _joined(space: gym.Space[Any], parts: Sequence[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _joined(inner, [part[name] for part in parts]) for name, inner in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_joined(inner, own) for inner, own in zip(space.spaces, zip(*parts, strict=True), strict=True))
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return deepcopy(tuple(chain.from_iterable(parts)))


def _received(worker: _Worker, method: str) -> _Answer:
    answer: _Answer | Failed | None = None
    with suppress(EOFError, ConnectionResetError):
        # A dead worker's children may keep its pipe open, so that recv would wait.
        answer = worker.connection.recv() if worker.connection.poll() else None
    if isinstance(answer, Failed):
        row, text, advice = answer.args
        whose = worker if row is None else f"Task {row} ({worker.tasks[row]})"
        raise WorkerError(f"{whose} failed to {method}; all workers were ended. {advice}Its traceback:\n{text}", row)
    if answer is not None:
        return answer
    worker.process.join(GRACE_S)
    code = worker.process.exitcode or 0
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"
    hint = " Its own message is above. Is the script's code under if __name__ == '__main__':?" * (method == "build")
    raise WorkerError(f"{worker} died ({how}) when asked to {method}; all workers were ended.{hint}")


def _refuse_to_wait(pending: Sequence[_Worker], method: str, timeout_s: float | None) -> None:
    for worker in pending:
        worker.process.kill()  # It would not end within the grace period.
    raise WorkerError(
        f"{'; '.join(map(str, pending))} did not {method} within {timeout_s} s (training.worker_timeout_s); all "
        "workers were ended. Find what hangs in these tasks' environments, or allow more time."
    )


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + GRACE_S
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        worker.process.kill()
    for worker in workers:
        worker.process.join()
