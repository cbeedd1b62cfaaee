"""The checker of task distributions: what it passes, and what it says of wrong methods, tasks and spaces."""

import gymnasium as gym
import numpy as np
import pytest

from pearl.tasks import Task, TaskDistributionError, check_task_distribution, make
from tests.support.tasks.walks import Walk, Walks, assert_found, walks_with


@pytest.mark.parametrize("family", ["point-robot", "sparse-point-robot", "image-point-robot"])
def test_the_families_that_come_with_the_framework_pass(family):
    check_task_distribution(make(family))


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_distribution_passes_and_is_left_as_it_was(seed):
    family = Walks()
    before = family.sample(4, np.random.default_rng(0))
    check_task_distribution(family, seed=seed)
    assert family.sample(4, np.random.default_rng(0)) == before


def test_environments_are_closed_after_the_check():
    opened = []

    class Closing(Walk):
        def __init__(self, goal):
            super().__init__(goal)
            self.closed = False
            opened.append(self)

        def close(self):
            self.closed = True

    family = Walks()
    family.env = Closing
    check_task_distribution(family)
    assert len(opened) >= 8
    assert all(env.closed for env in opened)


def test_the_error_is_a_value_error():
    assert issubclass(TaskDistributionError, ValueError)


def test_one_task_cannot_be_compared():
    with pytest.raises(ValueError, match=r"n_tasks must be at least 2.*got 1"):
        check_task_distribution(Walks(), n_tasks=1)


def test_the_class_in_place_of_an_instance_is_found():
    assert_found(Walks, "Pass an instance, not the class: Walks().")


def test_a_missing_method_is_found():
    class NoEnv:
        def sample(self, n, rng):
            return []

    assert_found(NoEnv(), "NoEnv has no method 'make_env'; define make_env(self, task, *, render_mode=None)")
    assert_found(object(), "object has no method 'sample'; define sample(self, n, rng)")


def test_methods_without_the_base_class_are_found():
    class Plain:
        sample, make_env = Walks.sample, Walks.make_env

    assert_found(Plain(), "Plain must inherit from pearl.TaskDistribution")


def test_a_wrong_signature_is_found():
    class NoGenerator(Walks):
        def sample(self, n):  # type: ignore[override]
            return []

    class NoRenderMode(Walks):
        def make_env(self, task):  # type: ignore[override]
            return Walk(0.0)

    assert_found(NoGenerator(), "NoGenerator.sample(n) cannot be called as sample(self, n, rng)")
    assert_found(NoRenderMode(), "NoRenderMode.make_env(task) cannot be called as make_env(", "'render_mode'")


def goals(*values):
    return [Task({"goal": value}) for value in values]


class LossyTask(Task):
    def to_json(self):
        return {"goal": round(self.params["goal"], 1)}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda self, n, rng: [{"goal": 0.5}] * n, "must return a list of pearl.Task, got [{'goal': 0.5}"),
        (lambda self, n, rng: tuple(goals(*rng.uniform(size=n).tolist())), "must return a list of pearl.Task, got ("),
        (lambda self, n, rng: goals(*rng.uniform(size=n - 1).tolist()), "must return 4 tasks, got 3"),
        (lambda self, n, rng: goals(*rng.uniform(size=n)[:, None]), "sample(4, rng) raised TypeError"),
        (lambda self, n, rng: [LossyTask({"goal": g}) for g in rng.uniform(size=n).tolist()], "JSON round trip"),
        (lambda self, n, rng: goals(*np.random.uniform(size=n).tolist()), "gave other tasks with the same seed"),  # noqa: NPY002
        (lambda self, n, rng: goals(*[0.5] * n), "gave the same task 4 times: (goal=0.5)"),
        (lambda self, n, rng: goals(*np.linspace(0, 1, n).tolist()), "gave the same tasks with every seed"),
    ],
)
def test_a_broken_sample_is_found(sample, message):
    assert_found(type("Broken", (Walks,), {"sample": sample})(), message)


def test_a_finite_set_in_a_fixed_order_passes():
    class Two(Walks):
        def sample(self, n, rng):
            if n > 2:
                raise ValueError(f"There are 2 tasks, asked for {n}.")
            return goals(-1.0, 1.0)[:n]

    check_task_distribution(Two(), n_tasks=2)
    assert_found(Two(), "sample(4, rng) raised ValueError: There are 2 tasks", "finite set")


def test_a_make_env_that_fails_or_makes_something_else_is_found():
    def failing(self, task, *, render_mode=None):
        raise KeyError("velocity")

    assert_found(type("Failing", (Walks,), {"make_env": failing})(), "make_env((goal=", "raised KeyError: 'velocity'")
    other = {"make_env": lambda self, task, *, render_mode=None: "Walk-v0"}
    assert_found(type("Other", (Walks,), other)(), "must return a gymnasium.Env, got 'Walk-v0'")


def test_tasks_with_spaces_of_their_own_are_found():
    class Wide(Walk):
        def __init__(self, goal):
            super().__init__(goal)
            self.action_space = gym.spaces.Box(-abs(goal), abs(goal), (1,), np.float32)

    assert_found(type("Broken", (Walks,), {"env": Wide})(), "must share one action_space", "the first has Box(")


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("action_space", gym.spaces.Text(3), "Discrete, MultiDiscrete or MultiBinary as its action space, got Text"),
        ("action_space", gym.spaces.Box(-np.inf, np.inf, (1,)), "PEARL needs an action space with finite bounds"),
        ("observation_space", gym.spaces.Text(3), "PEARL cannot read the observation space Text"),
    ],
)
def test_spaces_that_pearl_does_not_support_are_found(name, space, message):
    assert_found(walks_with(**{name: space}), message)
