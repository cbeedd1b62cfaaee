"""Meta-World's environments: goals that are hidden and stay, success as Metaworld tells it, quiet processes."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("metaworld")

from metaworld.policies import ENV_POLICY_MAP

import pearl
from pearl import Task
from pearl.tasks import parse_task, time_limit
from pearl.tasks.families.metaworld import ENVIRONMENTS, ML1, ML10, ML45
from tests.support.processes import assert_names_what_to_install, assert_renders, assert_says_nothing, can_render

POLICIES: dict[str, Any] = ENV_POLICY_MAP  # typed alike with Meta-World and without it
REACH = {"env": "reach-v3", "rand_vec": [0.05, 0.65, 0.02, 0.05, 0.85, 0.2]}
OTHER_GOAL = {**REACH, "rand_vec": [0.05, 0.65, 0.02, -0.05, 0.9, 0.1]}


def reach(params=REACH, **settings):
    return ML1("reach-v3", **settings).make_env(Task(params))


def played(env, steps=10, **reset):
    """Return the observations and the rewards of an episode's first steps."""
    observations, rewards = [env.reset(**reset)[0]], []
    rng = np.random.default_rng(0)
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.uniform(-1, 1, 4).astype(np.float32))
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


def check_spaces_and_goals(family, tasks):
    first = reach()
    for task in tasks:
        env = family.make_env(task)
        assert env.observation_space == first.observation_space
        assert env.action_space == first.action_space
        observations, _ = played(env, 3)
        assert all(observation in env.observation_space for observation in observations)
        assert not observations[:, -3:].any()
        assert np.abs(env.unwrapped._target_pos).max() > 0
        env.close()


@pytest.mark.usefixtures("few_goals")
def test_tasks_of_a_benchmark_share_their_spaces_and_hide_their_goal():
    train, test = ML10().split(3, 2, np.random.default_rng(0))
    check_spaces_and_goals(ML10(), train + test)


@pytest.mark.slow
@pytest.mark.usefixtures("few_goals")
def test_tasks_of_all_environments_share_their_spaces_and_hide_their_goal():
    train, test = ML45().split(45, 5, np.random.default_rng(0))
    assert {task.params["env"] for task in train + test} == set(ENVIRONMENTS)
    check_spaces_and_goals(ML45(), train + test)


def test_only_rewards_tell_a_goal():
    (observations, rewards), (others, other_rewards) = (played(reach(params)) for params in (REACH, OTHER_GOAL))
    assert np.array_equal(observations, others)
    assert not np.isclose(rewards, other_rewards).any()


def test_every_episode_of_a_task_starts_alike_and_has_its_goal():
    env = reach()
    first, rewards = played(env, seed=1)
    for reset in ({"seed": 1}, {"seed": 2}, {}):
        again, same = played(env, **reset)
        assert np.array_equal(again, first)
        assert np.array_equal(same, rewards)
        assert env.unwrapped._target_pos.tolist() == REACH["rand_vec"][3:]


def test_a_task_survives_json_with_its_rewards_and_is_read_from_the_command_line():
    task = ML1("reach-v3").sample(1, np.random.default_rng(0))[0]
    returned = Task(json.loads(json.dumps(task.to_json())))
    assert returned == task
    assert np.array_equal(played(reach(returned.params))[1], played(reach(task.params))[1])
    assert parse_task("rand_vec=" + ",".join(map(str, task.params["rand_vec"])), like=Task(REACH)) == task


@pytest.mark.parametrize("steps", [1, 7, 501])
def test_an_episode_is_truncated_after_its_steps_and_does_not_terminate(steps):
    env = reach(episode_steps=steps)
    assert time_limit(env, "") == steps
    for _ in range(2):
        env.reset()
        ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(steps)]
        assert ends == [(False, False)] * (steps - 1) + [(False, True)]


def test_an_episode_has_a_step():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ML10(episode_steps=0)


@pytest.mark.filterwarnings("ignore:Constant")
def test_a_policy_that_knows_the_goal_succeeds_where_its_hand_is_within_five_centimetres():
    env = reach()
    policy = POLICIES["reach-v3"]()
    goal = np.array(REACH["rand_vec"][3:])
    observation, _ = env.reset()
    successes = []
    truncated = False
    while not truncated:
        told = np.concatenate([observation[:-3], goal])
        action = np.clip(policy.get_action(told), -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        successes.append(info["success"])
        assert info["success"] == (np.linalg.norm(env.unwrapped.tcp_center - goal) <= 0.05)
        assert (reward == 10) == info["success"]
        assert not terminated
    assert len(successes) == 200
    assert successes[0] == 0
    assert successes[-1] == 1
    assert sum(before != after for before, after in pairwise(successes)) == 1


def test_environments_that_step_together_tell_success_at_each_step():
    envs = ML1("reach-v3").make_vec_env([Task(REACH), Task(OTHER_GOAL)])
    envs.reset(seed=0)
    for _ in range(3):
        *_, infos = envs.step(np.zeros((2, 4), np.float32))
        assert infos["success"].tolist() == [0, 0]
        assert infos["_success"].all()
    envs.close()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"env": "reach-v3"}, "has the parameters 'env' and 'rand_vec'"),
        ({**REACH, "goal": 1}, "has the parameters 'env' and 'rand_vec'"),
        ({**REACH, "env": "push-v3"}, "ml1-reach-v3 has no environment 'push-v3'"),
        ({**REACH, "rand_vec": [0.1, 0.2]}, r"must be 6 numbers, from \[-0.1, 0.6, 0.02, -0.1, 0.8, 0.05\] to \["),
        ({**REACH, "rand_vec": [0.05, 0.65, 0.02, 0.05, 2.0, 0.2]}, "must be 6 numbers"),
    ],
)
def test_what_is_no_task_of_the_family_is_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        reach(params)


def test_a_task_of_another_benchmark_is_an_error():
    with pytest.raises(ValueError, match=r"^ml10 has no environment 'soccer-v3'\."):
        ML10().make_env(Task({"env": "soccer-v3", "rand_vec": [0.0] * 6}))


def test_positions_that_metaworld_would_draw_again_are_an_error_and_do_not_hang():
    env = reach({**REACH, "rand_vec": [0.0, 0.7, 0.02, 0.0, 0.8, 0.2]})
    with pytest.raises(ValueError, match="two are too near"):
        env.reset()


@pytest.mark.usefixtures("few_goals")
def test_the_checker_accepts_the_families():
    pearl.check_task_distribution(ML1("reach-v3", episode_steps=20), n_tasks=2)
    pearl.check_task_distribution(ML10(episode_steps=20), n_tasks=2)


@pytest.mark.usefixtures("few_goals")
def test_the_checker_accepts_tasks_that_only_the_initiated_can_tell_apart_if_given_a_policy():
    family = ML1("plate-slide-side-v3", episode_steps=150)
    policy = POLICIES["plate-slide-side-v3"]()
    with pytest.raises(pearl.TaskDistributionError, match="give a policy that earns them"):
        pearl.check_task_distribution(family, n_tasks=2)
    pearl.check_task_distribution(
        family, n_tasks=2, policy=lambda observation: policy.get_action(observation).clip(-1, 1)
    )


PLAY = """
import logging, sys
import numpy as np
import pearl
from pearl.tasks.families.metaworld import ML1
assert "metaworld" not in sys.modules, "imported without need"
task = pearl.Task({"env": "reach-v3", "rand_vec": [0.05, 0.65, 0.02, 0.05, 0.85, 0.2]})
env = ML1("reach-v3").make_env(task)
env.reset(seed=0)
env.step(env.action_space.sample())
# What MuJoCo has to say of an unstable simulation goes to logging, which this process discards.
logging.getLogger("pearl").addHandler(logging.NullHandler())
env.unwrapped.data.qvel[:] = 1e12
env.step(env.action_space.sample())
assert env.unwrapped.data.warning.number.sum() > 0
env.close()
"""


def test_playing_says_nothing_and_leaves_no_file(tmp_path):
    assert_says_nothing(PLAY, tmp_path)


def test_without_metaworld_the_families_are_listed_and_building_one_says_what_to_install(tmp_path):
    assert_names_what_to_install(
        "import sys; sys.modules['metaworld'] = None\n"
        "import pearl\n"
        "print([name for name in pearl.families() if name.startswith('ml')])\n"
        "pearl.PEARL('ml1-reach-v3')",
        tmp_path,
        printed="['ml1-<task>-v3', 'ml10', 'ml45']",
        extra="metaworld",
    )


@can_render
def test_an_environment_renders_frames_the_right_way_up(tmp_path):
    # The floor lies below the arm: what is empty above it has one colour.
    assert_renders(
        "import pearl\n"
        "from pearl.tasks.families.metaworld import ML1\n"
        f"env = ML1('reach-v3').make_env(pearl.Task({REACH}), render_mode='rgb_array')",
        tmp_path,
        shows="frame[:100].std() < frame[-100:].std()",
    )


def test_tasks_cannot_change_within_an_episode_and_the_error_says_why(few_goals):
    with pytest.raises(ValueError, match=r"'ml1-reach-v3' cannot be moved .* a reset makes .*_target_pos.*change_task"):
        pearl.drifting(ML1("reach-v3"), pearl.DriftSchedule(50))
