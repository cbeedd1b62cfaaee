"""Fixtures of the tests of rollouts and workers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pearl import TaskDistribution
from pearl.collection.workers import WorkerVectorEnv


@pytest.fixture
def started() -> Iterator[Callable[..., tuple[WorkerVectorEnv, list[int]]]]:
    """A function that starts workers, which are closed after the test."""
    made = []

    def start(
        distribution: TaskDistribution, n_tasks: int = 4, n_workers: int = 2, *, timeout_s: float | None = None
    ) -> tuple[WorkerVectorEnv, list[Any]]:
        tasks = distribution.sample(n_tasks, np.random.default_rng(0))
        envs = WorkerVectorEnv(distribution, tasks, n_workers, timeout_s=timeout_s)
        made.append(envs)
        return envs, [worker.process.pid for worker in envs._workers]

    yield start
    for envs in made:
        envs.close()
