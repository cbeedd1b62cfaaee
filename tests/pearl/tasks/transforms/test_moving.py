"""Running environments that change their task: what moves, what stays, and which are refused."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pearl import Task, TaskDistributionError
from pearl.tasks.transforms.attributes import UnmovableError, differences, move_task
from pearl.tasks.transforms.moving import MovingEnv, check_moving
from tests.support.tasks.moving_walks import (
    DrawsAtReset,
    HiddenFromPython,
    InC,
    KeepsItsTask,
    Mixed,
    MoreParts,
    Numbered,
    OtherWorld,
    Part,
    Picks,
    Precomputed,
    Simulated,
    StartsAtTheGoal,
    Walk,
    Walks,
)

ONE, OTHER = Task({"goal": 1.0}), Task({"goal": 4.0})


def rewarded_by_a_function(goal):
    return gym.wrappers.TransformReward(Walk(0.0), lambda reward: float(reward) + goal)


MOVABLE = {
    "attribute": Walk,
    "precomputed": Precomputed,
    "mixed with the state": Mixed,
    "in an object": Simulated,
    "the task itself": KeepsItsTask,
    "in a function": rewarded_by_a_function,
}


def play(env, steps, seed):
    env.action_space.seed(seed)
    return [env.step(env.action_space.sample())[:2] for _ in range(steps)]


@pytest.mark.parametrize("name", MOVABLE)
def test_a_moved_environment_goes_on_where_it_was_as_one_of_the_other_task_would(name):
    """Its observations do not depend on the task, so they equal those of both tasks; its rewards are the other's."""
    family = Walks(MOVABLE[name])
    check_moving(family, ONE, OTHER)
    moved, same, other = (family.make_env(task) for task in (ONE, ONE, OTHER))
    moving = MovingEnv(family, moved, ONE)
    for env in (moved, same, other):
        env.reset(seed=3)
        play(env, 5, seed=0)
    moving.move(OTHER)
    after, unmoved, expected = (play(env, 5, seed=1) for env in (moved, same, other))
    assert np.array_equal([step[0] for step in after], [step[0] for step in unmoved])
    assert [step[1] for step in after] == pytest.approx([step[1] for step in expected])
    assert [step[1] for step in after] != pytest.approx([step[1] for step in unmoved])
    moving.move(ONE)
    play(same, 5, seed=2)
    play(moved, 5, seed=2)
    assert [step[1] for step in play(moved, 3, seed=4)] == pytest.approx([step[1] for step in play(same, 3, seed=4)])
    moving.close()


def test_what_tasks_share_is_not_written_to():
    table = {1.0: {"goal": 1.0, "steps": 0}, 4.0: {"goal": 4.0, "steps": 0}}

    class Sharing(Walk):
        def __init__(self, goal):
            super().__init__(0.0)
            self.settings = table[goal]

    family = Walks(Sharing)
    env = family.make_env(ONE)
    MovingEnv(family, env, ONE).move(OTHER)
    assert env.unwrapped.settings == {"goal": 4.0, "steps": 0}
    assert table == {1.0: {"goal": 1.0, "steps": 0}, 4.0: {"goal": 4.0, "steps": 0}}


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (DrawsAtReset, "a reset makes target depend on the task, so that task and state cannot be told apart"),
        (StartsAtTheGoal, "a reset makes place depend on the task"),
        (InC, "its attribute lock, a lock, cannot be compared between tasks"),
        (Numbered, "two new environments of the same task differ in number"),
        (Picks, "its attribute chosen is another method in another task"),
        (OtherWorld, "its attribute world is a World in one task and a Other in another"),
        (MoreParts, "its attribute world.parts has other parts in another task"),
        (HiddenFromPython, r"an environment that changed from task \(goal=1\) to task \(goal=4\) behaves otherwise"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_environment_whose_task_cannot_be_told_from_its_state_is_refused_with_the_remedy(build, reason):
    with pytest.raises(
        TaskDistributionError, match=rf"'Walks' cannot be moved .*{reason}.* Define change_task\(self, env"
    ):
        check_moving(Walks(build), ONE, OTHER)


class OwnChange(Walks):
    """A family whose environments cannot be compared, with its own change."""

    def __init__(self, build, change):
        super().__init__(build)
        self.change = change

    def change_task(self, env, task):
        return self.change(env.unwrapped, task.params["goal"])


def changed(env: Any, goal: float) -> bool:
    env.goal = goal
    return True


@pytest.mark.parametrize("build", [InC, DrawsAtReset, StartsAtTheGoal])
def test_a_familys_own_change_is_used_where_attributes_cannot_be_compared(build):
    family = OwnChange(build, changed)
    check_moving(family, ONE, OTHER)
    env = family.make_env(ONE)
    moving = MovingEnv(family, env, ONE)
    moving.move(OTHER)
    assert moving.by_family
    assert env.unwrapped.goal == 4.0


def test_a_change_of_ones_own_that_changes_nothing_is_found_out():
    with pytest.raises(TaskDistributionError, match="change_task of OwnChange returned True, but an environment"):
        check_moving(OwnChange(Walk, lambda env, goal: True), ONE, OTHER)


def test_a_change_of_ones_own_must_say_whether_it_changed():
    with pytest.raises(TaskDistributionError, match=r"change_task of OwnChange must return True, .* got None"):
        check_moving(OwnChange(Walk, lambda env, goal: None), ONE, OTHER)


def test_a_value_that_has_outgrown_its_new_form_cannot_be_moved():
    old, new, running = (Walk(0.0) for _ in range(3))
    old.path, new.path, running.path = [1.0], [2.0], [1.0, 5.0]
    with pytest.raises(UnmovableError, match="its attribute path has another form than in a new environment"):
        move_task(old, new, running)
    del running.path
    with pytest.raises(UnmovableError, match="its attribute path has another form"):
        move_task(old, new, running)


def test_differences_are_named_by_their_path_without_the_wrappers():
    old, new = (Walks(Simulated).make_env(task) for task in (ONE, OTHER))
    names = {str(found) for found in differences(old, new)}
    assert names == {"goal", "world.goal", "world.parts[0].size"}


def test_values_that_equal_nothing_and_objects_in_a_circle_are_compared():
    old, new = Walk(0.0), Walk(0.0)
    for env in (old, new):
        env.best, env.world, env.row = float("nan"), Part(env), np.array([np.nan, 1.0])
        env.world.itself = env.world
    assert list(differences(old, new)) == []
    new.world.size.extra = 3.0
    with pytest.raises(UnmovableError, match="has other parts"):
        list(differences(old, new))
