"""Fixtures of the tests of rollouts and workers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pearl import TaskDistribution
from pearl.collection.workers import WorkerVectorEnv
from tests.support.collection.worker_processes import TIMEOUT_S


@pytest.fixture
def started() -> Iterator[Callable[..., tuple[WorkerVectorEnv, list[int]]]]:
    """A function that starts workers, which are closed after the test."""
    made = []

    def start(
        distribution: TaskDistribution, n_tasks: int = 4, n_workers: int = 2
    ) -> tuple[WorkerVectorEnv, list[Any]]:
        tasks = distribution.sample(n_tasks, np.random.default_rng(0))
        envs = WorkerVectorEnv(distribution, tasks, n_workers, timeout_s=TIMEOUT_S)
        made.append(envs)
        return envs, [worker.process.pid for worker in envs._workers]

    yield start
    for envs in made:
        envs.close()
