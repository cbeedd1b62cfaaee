"""The checker of task distributions: what it says of vector environments, and of relabelling."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pearl.tasks import check_task_distribution, make
from tests.support.tasks.walks import Walk, Walks, assert_found


def vectorised(tasks, mode=AutoresetMode.DISABLED):
    return SyncVectorEnv([lambda task=task: Walks().make_env(task) for task in tasks], autoreset_mode=mode)


class Clumsy(SyncVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


@pytest.mark.parametrize(
    ("make_vec_env", "message"),
    [
        (lambda self, tasks: Walk(0.0), "must return a gymnasium.vector.VectorEnv"),
        (lambda self, tasks: vectorised(tasks[:2]), "must build one environment per task, 4, got 2"),
        (lambda self, tasks: vectorised(tasks, AutoresetMode.NEXT_STEP), "must use AutoresetMode.DISABLED"),
        (lambda self, tasks: make("point-robot").make_vec_env(make("point-robot").sample(4, np.random.default_rng(0))),
         "make_vec_env's single_observation_space is Box(-inf, inf, (2,), float32)"),
        (lambda self, tasks: Clumsy([lambda: Walks().make_env(tasks[0])] * 4, autoreset_mode=AutoresetMode.DISABLED),
         "must reset alone"),
        (lambda self, tasks: tasks[9], "make_vec_env(tasks) raised IndexError"),
    ],
)  # fmt: skip
def test_a_broken_vector_environment_is_found(make_vec_env, message):
    assert_found(type("Broken", (Walks,), {"make_vec_env": make_vec_env})(), message)


def test_infos_of_a_vector_environment_that_cannot_be_read_are_found():
    class Telling(SyncVectorEnv):
        def step(self, actions):
            *step, _ = super().step(actions)
            return *step, {"training_reward": np.zeros((4, 1))}

    def make_vec_env(self, tasks):
        return Telling([lambda task=t: self.make_env(task) for t in tasks], autoreset_mode=AutoresetMode.DISABLED)

    broken = type("Broken", (Walks,), {"make_vec_env": make_vec_env})()
    assert_found(broken, "infos['training_reward'] must hold one number per task, (4,), got an array of the shape")


class Relabelling(Walks):
    factor = 1.0
    keep = (Ellipsis,)

    def relabel(self, tasks, observation, action, next_observation):
        goal = np.array([[task.params["goal"]] for task in tasks], np.float32)
        reward = -np.abs(next_observation[..., 0] - goal)
        return reward[self.keep], (self.factor * reward)[self.keep]


def test_relabelling_that_reproduces_the_rewards_passes():
    check_task_distribution(Relabelling())


def test_relabelling_with_other_rewards_or_shapes_is_found():
    wrong, flat = Relabelling(), Relabelling()
    wrong.factor, flat.keep = 1.1, (0,)
    assert_found(wrong, "relabel must reproduce the environment's training reward", "they differ by up to")
    assert_found(flat, "relabel must return each reward as (task, step), (1, 5), got (5,)")
