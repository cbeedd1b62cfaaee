"""The problems on which the defaults are measured: every one passes the check, and none is the same in two tasks."""

import numpy as np
import pytest
import unseen
from numpy.typing import NDArray

import pearl
from pearl.tasks import TaskDistribution, make

NAMES = (*unseen.PROBLEMS, "mirrored-cartpole", "mirrored-acrobot")


@pytest.fixture(params=NAMES)
def tasks(request: pytest.FixtureRequest) -> TaskDistribution:
    return make(request.param)


def test_there_are_ten() -> None:
    assert len(NAMES) == 10


def test_the_defaults_train_on_it_as_it_is(tasks: TaskDistribution) -> None:
    pearl.check_task_distribution(tasks, n_tasks=2)


def test_the_same_actions_lead_elsewhere_in_another_task(tasks: TaskDistribution) -> None:
    first, second = tasks.sample(2, np.random.default_rng(0))
    if "action_sign" in first.params:
        second = pearl.Task({**first.to_json(), "action_sign": -first.params["action_sign"]})
    assert played(tasks, first).tolist() == played(tasks, first).tolist()
    assert played(tasks, first).tolist() != played(tasks, second).tolist()


def played(tasks: TaskDistribution, task: pearl.Task) -> NDArray[np.float64]:
    """Return observations and rewards of 300 steps of actions that do not depend on the task."""
    env = tasks.make_env(task)
    env.action_space.seed(0)
    env.reset(seed=0)
    rows = []
    for _ in range(300):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rows.append(np.append(np.ravel(observation), float(reward)))
        if terminated or truncated:
            env.reset()
    return np.array(rows, np.float64)
