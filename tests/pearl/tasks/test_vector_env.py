"""Environments that are stepped together in this process: errors name tasks, and each task has one of its own."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pearl import EnvError, Task, TaskDistributionError, check_task_distribution
from pearl.collection.workers import make_envs
from tests.support.collection.worker_envs import FailingTasks, MixedTasks
from tests.support.small import Counting, CountingEnv, small_model
from tests.support.tasks.walks import HORIZON, Walk, Walks

IN_A_PROCESS = pytest.mark.parametrize("workers", [0, 1], ids=["in process", "worker"])


def step_once(distribution, workers=0, n_tasks=4):
    envs = make_envs(distribution, distribution.sample(n_tasks, np.random.default_rng(0)), workers)
    try:
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
    finally:
        envs.close()


@pytest.mark.parametrize("when", ["build", "reset", "step"])
def test_an_exception_names_its_task_and_is_its_cause(when):
    message = rf"The environment of task 3 \(number=13\) failed to {when}: ZeroDivisionError: division by zero"
    with pytest.raises(EnvError, match=message) as caught:
        step_once(FailingTasks(when))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("number", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_an_exit_are_no_failures_of_an_environment(number, monkeypatch):
    def interrupted():
        raise number

    monkeypatch.setitem(FailingTasks.__init__.__globals__["FAILURES"], "divide", interrupted)
    with pytest.raises(number):
        step_once(FailingTasks("step"))


SPACES = {
    "box": (spaces.Box(-1, 1, (2,), np.float32), np.zeros(3, np.float32), r"\(shape \(3,\)\)"),
    "no array": (spaces.Box(-1, 1, (2,), np.float32), None, "None"),
    "image": (spaces.Box(0, 255, (8, 8, 3), np.uint8), np.zeros((8, 8, 3)), "Box"),
    "dict": (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(2)}), {"a": np.zeros(2)}, "Dict"),
    "tuple": (spaces.Tuple((spaces.Box(-1, 1, (2,)),)), (np.zeros(1),), "Tuple"),
}


class Misshapen(gym.Env):
    """Observes what is not of its space, at reset or in its first step."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, space, wrong, when):
        self.observation_space, self.wrong, self.when = space, wrong, when

    def reset(self, *, seed=None, options=None):
        return (self.wrong if self.when == "reset" else self.observation_space.sample()), {}

    def step(self, action):
        return (self.wrong if self.when == "step" else self.observation_space.sample()), 0.0, False, False, {}


class MisshapenTasks(FailingTasks):
    """Task 2 is misshapen."""

    def __init__(self, kind, when):
        super().__init__()
        self.kind, self.when = kind, when

    def make_env(self, task, *, render_mode=None):
        space, wrong, _ = SPACES[self.kind]
        return Misshapen(space, wrong, self.when if task.params["number"] == 12 else "never")


@IN_A_PROCESS
@pytest.mark.parametrize("when", ["reset", "step"])
@pytest.mark.parametrize("kind", SPACES)
def test_an_observation_that_is_not_of_the_space_names_its_task(kind, when, workers):
    with pytest.raises(EnvError, match=rf"(?s)[Tt]ask 2 \(number=12\).*{when}.*{SPACES[kind][2]}"):
        step_once(MisshapenTasks(kind, when), workers)


class Returning(gym.Env):
    """Returns from step what it is given."""

    observation_space = action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, returned):
        self.returned = returned

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return self.returned


class ReturningTasks(FailingTasks):
    """Task 1 returns something else than the others."""

    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def make_env(self, task, *, render_mode=None):
        usual: tuple[Any, ...] = np.zeros(1, np.float32), 0.0, False, False, {}
        return Returning(self.returned if task.params["number"] == 11 else usual)


@IN_A_PROCESS
@pytest.mark.parametrize(
    "returned",
    [
        (np.zeros(1, np.float32), 0.0, False, {}),
        (np.zeros(1, np.float32), np.zeros(2), False, False, {}),
        (np.zeros(1, np.float32), "much", False, False, {}),
        (np.zeros(1, np.float32), 0.0, np.zeros(2, bool), False, {}),
        (np.zeros(1, np.float32), 0.0, False, False, None),
        None,
    ],
    ids=["four", "two rewards", "a text", "two flags", "no info", "nothing"],
)
def test_a_step_that_cannot_be_read_names_its_task(returned, workers):
    with pytest.raises(EnvError, match=r"(?s)[Tt]ask 1 \(number=11\) failed to step"):
        step_once(ReturningTasks(returned), workers)


@IN_A_PROCESS
def test_a_task_of_other_spaces_is_named(workers):
    with pytest.raises(EnvError, match=r"(?s)must share one observation_space; task 3 \(number=13\) has Box\(0, 255"):
        step_once(MixedTasks(), workers)


def test_environments_that_were_built_are_closed_where_a_later_one_fails():
    opened: list[Any] = []

    class Half(Counting):
        def make_env(self, task, *, render_mode=None):
            if len(opened) == 2:
                raise KeyError("goal")
            opened.append(CountingEnv(task.params["number"]))
            return opened[-1]

    with pytest.raises(EnvError, match=r"task 2 \(number=.*\) failed to build: KeyError: 'goal'"):
        step_once(Half())
    assert [env.closed for env in opened] == [True, True]


class SharedSimulator(Walks):
    """Hands out one environment, with another goal each time; in a fresh wrapper where ``fresh``."""

    def __init__(self, fresh=False, vectorise=None):
        self.sim = Walk(0.0)
        self.limited = gym.wrappers.TimeLimit(self.sim, HORIZON)
        self.fresh, self.vectorise = fresh, vectorise

    def make_env(self, task, *, render_mode=None):
        self.sim.goal = task.params["goal"]
        return gym.wrappers.TimeLimit(self.sim, HORIZON) if self.fresh else self.limited

    def make_vec_env(self, tasks):
        return super().make_vec_env(tasks) if self.vectorise is None else self.vectorise(self, tasks)


def gymnasiums_own(distribution, tasks):
    return SyncVectorEnv([partial(distribution.make_env, t) for t in tasks], autoreset_mode=AutoresetMode.DISABLED)


AGAIN = r"(?s)gave task 1 \(goal=.*\) the environment of task 0 \(goal=.*\) again.*build a new environment"


@IN_A_PROCESS
@pytest.mark.parametrize("fresh", [False, True])
def test_one_simulator_for_several_tasks_is_refused_when_environments_are_made(fresh, workers):
    with pytest.raises(EnvError, match=AGAIN):
        step_once(SharedSimulator(fresh), workers)


def test_one_simulator_in_a_vector_environment_of_the_users_is_refused():
    with pytest.raises(EnvError, match=AGAIN):
        step_once(SharedSimulator(True, gymnasiums_own))


@pytest.mark.parametrize("fresh", [False, True])
def test_one_simulator_ends_training_before_its_first_step(fresh):
    model = small_model(SharedSimulator(fresh))
    with pytest.raises(EnvError, match="again"):
        model.learn(10)
    assert model.num_timesteps == 0


@pytest.mark.parametrize("fresh", [False, True])
def test_the_check_finds_one_simulator_for_several_tasks(fresh):
    with pytest.raises(TaskDistributionError, match=r"gave task .* the environment that task .* has already"):
        check_task_distribution(SharedSimulator(fresh))


class Remembering(Walks):
    """Builds each task's environment once, and hands it out again."""

    def __init__(self):
        self.made = {}

    def make_env(self, task, *, render_mode=None):
        return self.made.setdefault(task, super().make_env(task))


def test_an_environment_that_is_handed_out_again_while_it_is_in_use_is_refused():
    family, tasks = Remembering(), [Task({"goal": 0.0}), Task({"goal": 1.0})]
    first = make_envs(family, tasks, 0)
    with pytest.raises(EnvError, match="of a task whose environments are still open again"):
        make_envs(family, tasks[:1], 0)
    with pytest.raises(TaskDistributionError, match=r"make_vec_env gave task .* has already|again"):
        check_task_distribution(Remembering())
    first.close()
