"""What the tests of the point robots share: both families, a task for a goal, actions row by row."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.families.point_robot import PointRobot, SparsePointRobot

FAMILIES: list[Callable[[], TaskDistribution]] = [PointRobot, SparsePointRobot]


def task_at(x: float, y: float) -> Task:
    return Task({"goal": [x, y]})


def actions_of(*rows: Sequence[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def step_together_and_alone(
    family: TaskDistribution, mean: float
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Step tasks' environments together and each alone, with the same seeds and actions drawn around a mean.

    Asserts that all that they return is equal bit for bit; yields the infos of each reset and step, which may differ.
    """
    tasks = family.sample(5, np.random.default_rng(0))
    envs, singles = family.make_vec_env(tasks), [family.make_env(task) for task in tasks]
    rng = np.random.default_rng(1)
    # A seed for each, or none: Gymnasium's annotation allows one for all alone.
    several: tuple[Any, ...] = ([11, 12, 13, 14, 15], [None] * 5)
    for seeds in several:
        observation, infos = envs.reset(seed=seeds)
        resets = [env.reset(seed=seed) for env, seed in zip(singles, seeds, strict=True)]
        assert np.array_equal(observation, [observation for observation, _ in resets])
        yield infos, [info for _, info in resets]
        for _ in range(20):
            actions = rng.normal(mean, 1.5, (5, 2)).astype(np.float32)
            batch = envs.step(actions)
            single = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            for ours, theirs in zip(batch[:4], list(zip(*single, strict=True))[:4], strict=True):
                assert np.array_equal(ours, theirs)
            yield batch[4], [info for *_, info in single]
