"""Rollouts in environments of every kind of space, and what they record of success."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import ActionChoice, MemorylessAgent
from agents.spaces import action_rows
from pearl.collection.rollout import rollout
from pearl.evaluation.protocol import Evaluation, References
from tests.support.small import CountingEnv, together

LENGTH = 3
ACTION_SPACES: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(np.array([-1.0, 2.0]), np.array([1.0, 4.0]), dtype=np.float64),
    "matrix": spaces.Box(-1.0, 1.0, (2, 2)),
    "discrete": spaces.Discrete(4, start=3),
    "multi-discrete": spaces.MultiDiscrete([3, 4], start=[0, -2]),
    "multi-binary": spaces.MultiBinary(3),
}
NESTED = spaces.Dict({"number": spaces.Box(-9, 9, (1,)), "step": spaces.Discrete(LENGTH + 1)})
IMAGES = spaces.Box(0, 255, (16, 17, 3), np.uint8)


class Told(gym.Env):
    """Observes its number and step in a space of choice, and keeps the actions that it was given.

    ``succeeds`` are the steps of its life (from 1) whose info says so; None says nothing at all.
    """

    def __init__(self, number, action_space, observation_space=NESTED, succeeds=None, length=LENGTH):
        self.number, self.action_space, self.observation_space = number, action_space, observation_space
        self.succeeds, self.length = succeeds, length
        self.actions = []
        self.life = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.actions.append(action)
        self.steps += 1
        self.life += 1
        info = {} if self.succeeds is None else {"success": float(self.life in self.succeeds)}
        return self._observation(), 1.0, False, self.steps >= self.length, info

    def _observation(self):
        if self.observation_space is IMAGES:
            return np.full(IMAGES.shape, 10 * self.number + self.steps, np.uint8)
        return {"number": np.array([self.number], np.float32), "step": self.steps}


class Scripted(MemorylessAgent):
    """Plays rows of sampled actions; keeps the observations that it was shown."""

    def __init__(self, space, n_tasks, n_steps):
        space.seed(0)
        self.script = [[space.sample() for _ in range(n_tasks)] for _ in range(n_steps)]
        self.rows = [action_rows(space, actions) for actions in self.script]
        self.shown = []

    def act(self, observation, memory, deterministic, rng):
        self.shown.append(observation.clone())
        return ActionChoice(torch.from_numpy(self.rows[len(self.shown) - 1]))


def play(envs, space, *, episodes=1, n_steps=LENGTH):
    agent = Scripted(space, len(envs), n_steps)
    trial, _ = rollout(together(*envs), agent, None, episodes=episodes, seed=0, rng=torch.Generator().manual_seed(0))
    return trial, agent


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_an_environment_gets_actions_of_its_own_type_and_shape(name):
    space = ACTION_SPACES[name]
    envs = [Told(number, space) for number in (1, 2)]
    trial, agent = play(envs, space)
    for task, env in enumerate(envs):
        for step, action in enumerate(env.actions):
            assert space.contains(action)
            assert np.asarray(action).dtype == space.dtype
            np.testing.assert_allclose(action, agent.script[step][task], rtol=1e-6)
    assert trial.action.dtype == np.float32
    assert np.array_equal(trial.action, np.stack(agent.rows, axis=1))


def test_observations_of_several_parts_are_shown_and_recorded_as_rows():
    space = ACTION_SPACES["discrete"]
    trial, agent = play([Told(number, space) for number in (1, -2)], space)
    assert trial.observation.dtype == np.float32
    one_hot = np.eye(LENGTH + 1, dtype=np.float32)
    for task, number in enumerate((1, -2)):
        assert trial.observation[task].tolist() == [[number, *one_hot[step]] for step in range(LENGTH)]
        assert trial.next_observation[task].tolist() == [[number, *one_hot[step]] for step in range(1, LENGTH + 1)]
    assert np.array_equal(torch.stack(agent.shown, dim=1).numpy(), trial.observation)


def test_images_are_shown_and_recorded_as_bytes():
    space = ACTION_SPACES["discrete"]
    trial, agent = play([Told(number, space, IMAGES) for number in (1, 2)], space)
    assert trial.observation.dtype == trial.next_observation.dtype == np.uint8
    assert agent.shown[0].dtype == torch.uint8
    assert trial.observation.shape == (2, LENGTH, 16 * 17 * 3)
    assert trial.observation[:, :, 7].tolist() == [[10, 11, 12], [20, 21, 22]]
    assert trial.next_observation[:, :, 7].tolist() == [[11, 12, 13], [21, 22, 23]]


def with_success(*succeeds, lengths=(3, 2), episodes=2):
    space = ACTION_SPACES["discrete"]
    envs = [Told(1, space, succeeds=each, length=length) for each, length in zip(succeeds, lengths, strict=True)]
    return play(envs, space, episodes=episodes, n_steps=episodes * max(lengths))[0]


def test_success_is_recorded_step_by_step():
    trial = with_success({2, 6}, {3})
    assert trial.success.dtype == np.bool_
    assert trial.success.tolist()[0] == [False, True, False, False, False, True]
    assert (trial.success & trial.mask).tolist()[1] == [False, False, True, False, False, False]


def test_an_episode_succeeded_where_it_did_at_any_step_of_its_own():
    # Task 0's episodes are its steps 1-3 and 4-6, task 1's are 1-2 and 3-4.
    assert with_success({2, 6}, {3}).episode_successes(2).tolist() == [[True, True], [False, True]]
    assert with_success({1, 3}, set()).episode_successes(2).tolist() == [[True, False], [False, False]]
    assert with_success({4}, {2}).episode_successes(3).tolist() == [[False, True, False], [True, False, False]]


def test_what_a_task_does_after_its_episodes_is_no_success():
    # Task 1 idles from its fifth step on, while task 0 plays; its environment is reset with the others.
    trial = with_success(set(), {5, 6})
    assert trial.success[1].any()
    assert not trial.episode_successes(2).any()


def test_where_one_task_says_so_the_silence_of_others_is_no_success():
    trial = with_success({1}, None)
    assert trial.episode_successes(2).tolist() == [[True, False], [False, False]]


def test_where_nothing_is_said_of_success_none_is_recorded():
    trial = with_success(None, None)
    assert trial.success is None
    assert trial.episode_successes(2) is None


def evaluation(trial):
    return Evaluation(
        returns=trial.episode_returns(2),
        trajectories=trial,
        memory=None,
        references=References(random=0.0, oracle=None),
        exploration_episodes=1,
        distinct_tasks=len(trial.mask),
    )


def test_the_success_of_an_evaluation_is_the_share_of_tasks_in_each_episode():
    assert evaluation(with_success({2, 6}, {3})).success_per_episode.tolist() == [0.5, 1.0]
    assert evaluation(with_success(None, None)).success_per_episode is None


def test_environments_that_never_say_success_are_rolled_out_as_before():
    trial, _ = play([CountingEnv(0.0), CountingEnv(1.0)], CountingEnv.action_space, n_steps=4)
    assert trial.success is None
