"""Families whose task changes within an episode."""

import json
from itertools import pairwise

import numpy as np
import pytest

import pearl
from pearl import DriftSchedule, Task, check_task_distribution, drifting, mirrored, perturbed, task_observed
from pearl.collection.workers import make_envs
from pearl.tasks import Drifting, TaskDistribution, make, time_limit
from pearl.tasks.infos import by_task
from pearl.tasks.transforms.drift import Drift
from pearl.tasks.transforms.drifting import TASK, TASK_INDEX, DriftingVectorEnv
from tests.support.small import Counting, small_model

LENGTH = 9
"""Steps of an episode of the counting family, whose reward is the task's number plus a tenth of the steps"""
ACTION = np.zeros(2, np.float32)


def counting(schedule=None, **arguments):
    return drifting(Counting(LENGTH), DriftSchedule((2, 4)) if schedule is None else schedule, **arguments)


def task_of(numbers, steps, *, gradual=False):
    return Drift(tuple(Task({"number": number}) for number in numbers), tuple(steps), gradual).to_task()


def numbers_of(env):
    """The task's number at each step of an episode, from the rewards."""
    numbers: list[float] = []
    ended = False
    while not ended:
        _, reward, terminated, truncated, _ = env.step(ACTION)
        numbers.append(round(reward - (len(numbers) + 1) / 10, 6))
        ended = terminated or truncated
    return numbers


@pytest.mark.parametrize(("steps", "held"), [([1], [1, 8]), ([8], [8, 1]), ([4], [4, 5]), ([2, 5], [2, 3, 4])])
def test_each_task_holds_from_its_step_to_the_next_ones_in_every_episode(steps, held):
    numbers = (0.25, -0.5, 0.75)[: len(steps) + 1]
    env = counting().make_env(task_of(numbers, steps))
    expected = [number for number, times in zip(numbers, held, strict=True) for _ in range(times)]
    for seed in (0, None, None):
        env.reset(seed=seed)
        assert numbers_of(env) == expected


def test_an_episode_that_is_broken_off_begins_again_with_the_first_task():
    env = counting().make_env(task_of((0.25, -0.5), [2]))
    env.reset(seed=0)
    for _ in range(5):
        env.step(ACTION)
    env.reset()
    assert numbers_of(env)[:3] == [0.25, 0.25, -0.5]


def test_a_gradual_drift_moves_the_number_at_every_step():
    env = counting(DriftSchedule(4, gradual=True)).make_env(task_of((0.0, 1.0), [4], gradual=True))
    env.reset(seed=0)
    assert numbers_of(env) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_the_state_carries_over_a_change():
    """The counting environment observes its number of episodes and of steps."""
    env = counting().make_env(task_of((0.25, -0.5), [2]))
    env.reset(seed=0)
    numbers_of(env)
    env.reset()
    observations = [env.step(ACTION)[0].tolist() for _ in range(4)]
    assert observations == [[0.25, 1, 1], [0.25, 1, 2], [-0.5, 1, 3], [-0.5, 1, 4]]


def test_the_info_of_a_step_names_its_task():
    env = counting().make_env(task_of((0.25, -0.5), [2]))
    _, info = env.reset(seed=0)
    assert (info[TASK_INDEX], info[TASK]) == (0, Task({"number": 0.25}))
    infos = [env.step(ACTION)[4] for _ in range(3)]
    assert [info[TASK_INDEX] for info in infos] == [0, 0, 1]
    assert [info[TASK].params["number"] for info in infos] == [0.25, 0.25, -0.5]


def test_tasks_and_times_are_drawn_and_follow_from_the_generator():
    family = counting(DriftSchedule((2, 4), switches=2))
    tasks = family.sample(6, np.random.default_rng(3))
    assert tasks == family.sample(6, np.random.default_rng(3))
    assert tasks != family.sample(6, np.random.default_rng(4))
    drifts = [Drift.of(task) for task in tasks]
    assert len({task for drift in drifts for task in drift.tasks}) == 18
    assert len({drift.switch_steps for drift in drifts}) > 1
    for task in tasks:
        assert Task(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize("switches", [1, 2])
def test_tasks_of_two_kinds_change_at_every_switch_and_begin_with_either(switches):
    family = drifting(mirrored(make("point-robot")), DriftSchedule((2, 4), switches=switches))
    for seed in range(5):
        drawn = family.sample(4, np.random.default_rng(seed)), *family.split(4, 4, np.random.default_rng(seed))
        for tasks in drawn:
            signs = [[task.params["action_sign"] for task in Drift.of(each).tasks] for each in tasks]
            assert all(one == -other for each in signs for one, other in pairwise(each))
            assert {each[0] for each in signs} == {-1, 1}


class Sided(Counting):
    """Training numbers are below 0, test numbers above."""

    def split(self, n_train, n_test, rng):
        train, test = rng.uniform(-1, 0, n_train), rng.uniform(0, 1, n_test)
        return [Task({"number": number}) for number in train.tolist()], [Task({"number": n}) for n in test.tolist()]


def test_held_out_drifting_tasks_consist_of_held_out_tasks():
    train, test = drifting(Sided(), DriftSchedule(2)).split(5, 3, np.random.default_rng(0))
    assert (len(train), len(test)) == (5, 3)
    assert all(task.params["number"] < 0 for each in train for task in Drift.of(each).tasks)
    assert all(task.params["number"] > 0 for each in test for task in Drift.of(each).tasks)


def test_where_test_tasks_are_training_tasks_drifting_ones_are_too():
    few = Counting(LENGTH)
    few.same_tasks = True
    family = drifting(few, DriftSchedule((2, 4)))
    train, test = family.split(6, 3, np.random.default_rng(0))
    assert family.same_tasks
    assert train[:3] == test


def test_a_family_of_too_few_tasks_says_how_many_are_needed():
    few = perturbed("CartPole-v1", tasks=[{"length": length} for length in (0.3, 0.5, 0.7)])
    family = drifting(few, DriftSchedule(10))
    message = r"4 tasks of 'drifting-perturbed-CartPole-v1' need 8 tasks .* has 3 fixed tasks.* Ask for fewer"
    with pytest.raises(ValueError, match=message):
        family.sample(4, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        family.split(2, 2, np.random.default_rng(0))


class Signs(Counting):
    """Two tasks of whole numbers."""

    simulators = ("a-simulator",)

    def sample(self, n, rng):
        return [Task({"number": (-1) ** index}) for index in range(n)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Counting, DriftSchedule(2)), TypeError, r"distribution must be a task distribution.*Counting\(\)"),
        ((Counting(), 2), TypeError, r"schedule must be a pearl.DriftSchedule, got 2. Write pearl.DriftSchedule\("),
        (
            (Counting(LENGTH), DriftSchedule(10)),
            ValueError,
            "may come at step 10, but episodes of 'Counting' end after",
        ),
        ((Counting(LENGTH), DriftSchedule((2, 4), switches=3)), ValueError, "at step 12.* Lower steps or switches"),
        (
            (Signs(), DriftSchedule(2, gradual=True)),
            ValueError,
            "parameters that are floats.*gradual=False",
        ),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(arguments, error, message):
    with pytest.raises(error, match=message):
        drifting(*arguments)


def test_what_drifts_already_is_refused():
    with pytest.raises(ValueError, match="'drifting-Counting' drift already; raise the schedule's switches"):
        drifting(counting(), DriftSchedule(2))


class Constant(Counting):
    def sample(self, n, rng):
        return [Task({"number": 1.0})] * n


def test_a_family_of_one_task_is_refused():
    with pytest.raises(ValueError, match=r"'Constant' drew the same task 100 times: \(number=1\). Tasks must vary"):
        drifting(Constant(), DriftSchedule(2))


def test_another_task_than_a_drifting_one_is_refused():
    with pytest.raises(ValueError, match="A drifting task has the parameters tasks, switch_steps, gradual, got number"):
        counting().make_env(Task({"number": 0.5}))


def test_a_drifting_family_has_a_name_and_the_properties_of_its_distribution():
    assert counting().name == "drifting-Counting"
    assert counting(name="mine").name == "mine"
    assert pearl.drifting is Drifting
    assert drifting(Signs(), DriftSchedule(2)).simulators == ("a-simulator",)
    assert time_limit(counting().make_env(task_of((0.0, 1.0), [2])), "It has") == 10


@pytest.mark.parametrize("gradual", [False, True])
def test_the_checker_accepts_drifting_families(gradual):
    check_task_distribution(counting(DriftSchedule((2, 4), gradual=gradual)))


def same_steps(envs, singles, n_steps):
    """Play single environments and a vector environment alike; each ends and is reset at its own time."""
    rows = range(len(singles))
    observations = envs.reset(seed=[7 + row for row in rows])[0]
    expected = [env.reset(seed=7 + row)[0] for row, env in enumerate(singles)]
    assert np.array_equal(observations, expected)
    envs.action_space.seed(0)
    for number in range(n_steps):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        steps = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        assert np.array_equal(observations, [step[0] for step in steps])
        assert rewards.tolist() == [step[1] for step in steps]
        assert by_task(infos, np.ones(len(singles), np.bool_)) == [step[4] for step in steps]
        ended = terminated | truncated | (np.arange(len(singles)) == number % 5)
        assert truncated.tolist() == [step[3] for step in steps]
        if ended.any():
            again = envs.reset(options={"reset_mask": ended})[0]
            assert all(np.array_equal(again[row], singles[row].reset()[0]) for row in np.flatnonzero(ended))


@pytest.mark.parametrize("gradual", [False, True])
@pytest.mark.parametrize(
    ("name", "fast"),
    [("point-robot", True), ("sparse-point-robot", True), ("image-point-robot", True), ("counting", False)],
)
def test_environments_stepped_together_are_those_stepped_alone(name, fast, gradual):
    family = drifting(
        Counting(LENGTH) if name == "counting" else make(name), DriftSchedule((1, 4), switches=2, gradual=gradual)
    )
    tasks = family.sample(4, np.random.default_rng(0))
    envs = family.make_vec_env(tasks)
    assert isinstance(envs, DriftingVectorEnv) is fast
    same_steps(envs, [family.make_env(task) for task in tasks], n_steps=45)
    envs.close()


class OwnVectorEnv(type(make("point-robot"))):
    """A family that steps its tasks together, but cannot change one of them."""

    def change_vec_task(self, envs, row, task):
        return TaskDistribution.change_vec_task(self, envs, row, task)


def test_where_tasks_that_are_stepped_together_cannot_change_each_is_stepped_alone():
    family = drifting(OwnVectorEnv(), DriftSchedule(4))
    tasks = family.sample(3, np.random.default_rng(0))
    same_steps(family.make_vec_env(tasks), [family.make_env(task) for task in tasks], n_steps=25)


def test_workers_step_drifting_tasks_as_this_process_does():
    family = counting()
    tasks = family.sample(3, np.random.default_rng(0))
    here, there = family.make_vec_env(tasks), make_envs(family, tasks, 2)
    try:
        for envs in (here, there):
            envs.reset(seed=0)
        for _ in range(LENGTH):
            one, other = (envs.step(np.zeros((3, 2), np.float32)) for envs in (here, there))
            assert one[1].tolist() == other[1].tolist()
            assert one[4]["each"] == other[4]["each"]
    finally:
        there.close()


def test_observed_tasks_that_drift_show_the_present_one():
    family = task_observed(counting())
    assert isinstance(family, Drifting)
    assert family.name == "task-observed-drifting-Counting"
    env = family.make_env(task_of((-1.0, 1.0), [2]))
    env.reset(seed=0)
    shown = [env.step(ACTION)[0][-1] for _ in range(4)]
    assert shown == pytest.approx([-1, -1, 1, 1], abs=0.01)


def test_a_drifting_family_can_be_meta_trained_on():
    model = small_model(counting())
    assert model.learn(40).num_timesteps >= 40
    assert {len(task.params["tasks"]) for task in model.train_tasks} == {2}
