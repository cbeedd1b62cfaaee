"""Infos stay apart by task; the few that are read are numbers, whatever the other tasks give and in whatever order."""

import threading
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from pearl import EnvError, Task, TaskDistribution
from pearl.collection.workers import make_envs
from pearl.tasks.families.point_robot_env import PointRobotVectorEnv
from pearl.tasks.infos import by_task
from tests.support.collection.rollouts import play
from tests.support.small import CountingEnv, small_model

N_STEPS = 3
LOCK = "a lock"


class Telling(gym.Env):
    """Rewards 0; its info is what it is given, at each step."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, info):
        self.info = info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        # What cannot be pickled is made here.
        info = {
            name: threading.Lock() if isinstance(value, str) and value == LOCK else value
            for name, value in self.info.items()
        }
        return np.zeros(1, np.float32), 0.0, False, False, info


class TellingTasks(TaskDistribution):
    """One task for each of some infos; what steps them is Gymnasium's where ``kind`` says so."""

    def __init__(self, *infos, kind=None):
        self.infos, self.kind = infos, kind

    def sample(self, n, rng):
        return [Task({"number": number}) for number in range(n)]

    def make_env(self, task, *, render_mode=None):
        return gym.wrappers.TimeLimit(Telling(self.infos[task.params["number"]]), N_STEPS)

    def make_vec_env(self, tasks):
        if self.kind is None:
            return super().make_vec_env(tasks)
        return self.kind([partial(self.make_env, task) for task in tasks], autoreset_mode=AutoresetMode.DISABLED)


def collect(*infos, workers=0, kind=None, **options):
    """Play one episode of each task."""
    distribution = TellingTasks(*infos, kind=kind)
    tasks = distribution.sample(len(infos), None)
    envs = make_envs(distribution, tasks, workers)
    try:
        return play(envs, episodes=1, labels=tasks, **options)[0]
    finally:
        envs.close()


HOW = [{"workers": 0}, {"workers": 2}, {"kind": SyncVectorEnv}, {"kind": AsyncVectorEnv}]
every_way = pytest.mark.parametrize("how", HOW, ids=["in process", "workers", "gymnasium's", "gymnasium's processes"])


@every_way
def test_a_training_reward_depends_on_no_other_task_and_on_no_order(how):
    values = [0, 0.75, True, np.float32(0.5), np.int8(3)]
    for order in (1, -1):
        infos = [{"training_reward": value} for value in values[::order]]
        assert collect(*infos, **how).training_reward[:, 0].tolist() == [0, 0.75, 1, 0.5, 3][::order]


@every_way
def test_success_depends_on_no_other_task_and_on_no_order(how):
    values = [0, 0.75, False, np.bool_(True), 1]
    for order in (1, -1):
        infos = [{"success": value} for value in values[::order]]
        assert collect(*infos, **how).success[:, 0].tolist() == [False, True, False, True, True][::order]


@pytest.mark.parametrize("workers", [0, 2])
def test_is_success_counts_as_success_and_success_before_it(workers):
    infos = [{"is_success": True}, {"success": 1.0}, {}, {"is_success": 1.0, "success": 0.0}, {"is_success": 0}]
    assert collect(*infos, workers=workers).success[:, 0].tolist() == [True, True, False, False, False]


def test_without_either_nothing_is_said_of_success():
    assert collect({"succeeded": True}).success is None


UNREAD = [
    {"path": np.zeros(2), "odd": {"a": 1}, "number": 2**70, "_odd": "text", "training_reward": 0.5},
    {"path": np.zeros((3, 1)), "odd": None, "number": "many", "odd_": 1, "lock": LOCK},
    {"path": [[1], [2, 3]], "odd": 0.5, 7: 8, "number": {}, "_number": np.zeros(2)},
]


@pytest.mark.parametrize("workers", [0, 2])
def test_infos_that_nobody_reads_do_not_matter(workers):
    for infos in (UNREAD, UNREAD[::-1]):
        trial = collect(*infos, workers=workers)
        assert trial.training_reward[:, 0].tolist() == [info.get("training_reward", 0) for info in infos]


@pytest.mark.parametrize("info", UNREAD, ids=range(3))
def test_infos_that_nobody_reads_do_not_matter_to_adaptation(info):
    env = CountingEnv(0.5)
    env.step = lambda action, step=env.step: (*step(action)[:4], info)
    assert small_model().adapt(env, episodes=1).trial.mask.sum() == 4


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["training_reward", "success", "is_success"])
@pytest.mark.parametrize("value", [None, "0.5", np.zeros(1), np.zeros(2), [1.0], {"a": 1}, 1j], ids=repr)
def test_an_info_that_is_read_and_is_no_number_is_named_by_task_and_key(name, value, workers):
    for infos in ([{name: 0.5}, {name: value}], [{}, {name: value}]):
        with pytest.raises(EnvError, match=rf"info\['{name}'\] of task 1 \(number=1\) must be one number"):
            collect(*infos, workers=workers)


def test_a_vector_environment_of_the_users_with_one_number_for_several_tasks_is_refused():
    class Narrow(PointRobotVectorEnv):
        def step(self, actions):
            *step, _ = super().step(actions)
            return *step, {"success": np.zeros((2, 1))}

    with pytest.raises(EnvError, match=r"infos\['success'\] must hold one number per task, \(2,\), got .* \(2, 1\)"):
        play(Narrow([[1, 0], [0, 1]]), episodes=1)


def told(**options):
    """The infos that callbacks are given at each step."""
    events = []
    options["on_step"] = lambda event: events.append(event.infos) or True
    return events, options


def test_callbacks_get_each_tasks_info_as_it_was_and_an_empty_one_where_a_task_idles():
    infos = [{"a": 0, "training_reward": 1}, {"a": 0.5, "b": {"c": None}}, {"a": "text"}]
    for workers in (0, 2):
        events, options = told()
        collect(*infos, workers=workers, **options)
        assert events == [infos] * N_STEPS

    class Uneven(TellingTasks):
        def make_env(self, task, *, render_mode=None):
            number = task.params["number"]
            return gym.wrappers.TimeLimit(Telling({"a": number}), 1 + number)

    events, options = told()
    play(Uneven().make_vec_env(Uneven().sample(3, None)), episodes=1, **options)
    assert events == [[{"a": 0}, {"a": 1}, {"a": 2}], [{}, {"a": 1}, {"a": 2}], [{}, {}, {"a": 2}]]


def test_callbacks_get_the_infos_of_a_users_vector_environment_apart():
    events, options = told()
    play(PointRobotVectorEnv([[1, 0], [0, 1]], sparse=True), episodes=1, **options)
    assert len(events) == 20
    assert all(list(info) == ["training_reward"] and info["training_reward"] < 0 for info in events[0])
    active = np.array([True, True, False])
    infos = {
        "episode": {"r": np.array([1.0, 2.0, 3.0]), "_r": np.array([True, False, True])},
        "_episode": np.array([True, False, True]),
        "place": np.arange(6).reshape(3, 2),
        "version": 3,
    }
    one, other, idle = by_task(infos, active)
    assert one.pop("place").tolist() == [0, 1]
    assert one == {"episode": {"r": 1.0}, "version": 3}
    assert other.pop("place").tolist() == [2, 3]
    assert other == {"version": 3}
    assert idle == {}


def test_what_a_wrapper_adds_to_the_infos_reaches_callbacks():
    envs = TellingTasks({"a": 1}, {"a": 2}).make_vec_env(TellingTasks().sample(2, None))
    events, options = told()
    play(gym.wrappers.vector.RecordEpisodeStatistics(envs), episodes=1, **options)
    assert ["episode" in info for info in events[-1]] == [True, True]
    assert events[-1][0]["episode"]["l"] == N_STEPS
    assert [info["a"] for info in events[-1]] == [1, 2]
