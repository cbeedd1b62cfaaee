"""Tasks are stepped together, each with its own episodes, and what is recorded is what happened."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from pearl import NonFiniteError, Task
from pearl.tasks.families.point_robot_env import PointRobotEnv, PointRobotVectorEnv
from tests.support.collection.rollouts import RecordingAgent, play
from tests.support.small import LENGTH, CountingEnv, together

REWARDS = np.array([0.1, 0.2, 0.3, 0.4])


@pytest.fixture
def uneven():
    """Tasks of 1, 2 and 4 steps an episode."""
    return together(*(CountingEnv(number, length) for number, length in ((0.0, 1), (1.0, 2), (2.0, 4))))


def test_each_task_plays_its_episodes_at_its_own_pace(uneven):
    trial, _ = play(uneven, episodes=3)
    played = [row[mask].tolist() for row, mask in zip(trial.episode, trial.mask, strict=True)]
    assert played == [[0, 1, 2], [0, 0, 1, 1, 2, 2], [0] * 4 + [1] * 4 + [2] * 4]


def test_a_task_that_ends_early_resets_alone_and_the_others_play_on(uneven):
    trial, _ = play(uneven, episodes=2)
    steps_seen = [row[mask].tolist() for row, mask in zip(trial.observation[..., 2], trial.mask, strict=True)]
    assert steps_seen == [[0, 0], [0, 1, 0, 1], [0, 1, 2, 3, 0, 1, 2, 3]]
    assert trial.observation[..., 1][trial.mask].tolist() == trial.episode[trial.mask].tolist()


def test_the_trial_ends_when_the_slowest_task_is_through(uneven):
    trial, _ = play(uneven, episodes=2)
    assert trial.reward.shape == (3, 8)


def test_a_task_that_is_through_idles_uncounted(uneven):
    counted = []
    trial, memory = play(uneven, episodes=2, on_step=lambda event: counted.append(event.n_active) or True)
    assert trial.mask.tolist() == [[True] * 2 + [False] * 6, [True] * 4 + [False] * 4, [True] * 8]
    assert trial.n_transitions == sum(counted) == 14
    assert counted == [3, 3, 2, 2, 1, 1, 1, 1]
    assert memory.seen.tolist() == [2, 4, 8]
    assert memory.episodes.tolist() == [2, 2, 2]


def test_the_end_of_an_idle_tasks_episode_is_not_reported(uneven):
    dones = []
    agent = RecordingAgent()
    play(uneven, episodes=2, agent=agent, on_step=lambda event: dones.append(event.dones.copy()) or True)
    assert np.sum(dones, axis=0).tolist() == [2, 2, 2]
    assert torch.stack(agent.ended).sum(0).tolist() == [2, 2, 2]


def test_the_next_observation_at_a_boundary_is_the_episodes_last_and_not_the_resets(uneven):
    trial, _ = play(uneven, episodes=2)
    ends = trial.mask & trial.truncated
    for task, length in enumerate((1, 2, 4)):
        lasts = trial.next_observation[task][ends[task]]
        assert lasts[:, 1:].tolist() == [[0, length], [1, length]]
    inner = trial.mask & ~trial.truncated
    assert (trial.next_observation[inner] == trial.observation[inner] + [0, 0, 1]).all()


def test_a_termination_and_a_time_limit_are_told_apart():
    envs = together(
        CountingEnv(0.0, 2, ending="terminated"),
        CountingEnv(1.0, 2, ending="truncated"),
        gym.wrappers.TimeLimit(CountingEnv(2.0, 9, ending="never"), 2),
        gym.wrappers.TimeLimit(CountingEnv(3.0, 2, ending="terminated"), 2),
    )
    agent = RecordingAgent()
    trial, memory = play(envs, episodes=2, agent=agent)
    assert trial.terminated.tolist() == [[False, True] * 2, [False] * 4, [False] * 4, [False, True] * 2]
    assert trial.truncated.tolist() == [[False] * 4, [False, True] * 2, [False, True] * 2, [False, True] * 2]
    told = torch.stack([transition.terminated for transition, _ in agent.observed], dim=1)
    assert told.tolist() == trial.terminated.tolist()
    assert memory.episodes.tolist() == [2] * 4


def test_the_memory_handed_to_act_has_seen_exactly_the_transitions_before(uneven):
    agent = RecordingAgent()
    trial, _ = play(uneven, episodes=2, agent=agent)
    for step, (_, memory, _) in enumerate(agent.acted):
        before = trial.mask[:, :step]
        assert memory.seen.tolist() == before.sum(1).tolist()
        assert memory.reward_sum.numpy() == pytest.approx((trial.reward[:, :step] * before).sum(1))
        assert memory.episodes.tolist() == ((trial.truncated | trial.terminated)[:, :step] & before).sum(1).tolist()


def test_act_is_shown_what_is_recorded(uneven):
    agent = RecordingAgent()
    trial, _ = play(uneven, episodes=2, agent=agent)
    shown = torch.stack([observation for observation, _, _ in agent.acted], dim=1)
    assert np.array_equal(shown.numpy(), trial.observation)
    seen = torch.stack([transition.next_observation for transition, _ in agent.observed], dim=1)
    assert np.array_equal(seen.numpy(), trial.next_observation)


def test_what_is_observed_is_the_true_reward_and_the_critics_get_their_own():
    trial, memory = play(together(CountingEnv(1.0, training_reward=range(1, LENGTH + 1))), episodes=1)
    assert trial.reward[0] == pytest.approx(1 + REWARDS)
    assert trial.training_reward[0].tolist() == [-1, -2, -3, -4]
    assert memory.reward_sum.item() == pytest.approx(4 + REWARDS.sum())


def test_without_a_training_reward_the_critics_get_the_true_one(uneven):
    trial, _ = play(uneven)
    assert np.array_equal(trial.training_reward, trial.reward)


def test_where_some_tasks_or_steps_have_a_training_reward_the_others_keep_the_true_one():
    trial, _ = play(together(CountingEnv(5.0, training_reward=(2,)), CountingEnv(7.0)), episodes=1)
    assert trial.training_reward[0] == pytest.approx([5.1, -2.0, 5.3, 5.4])
    assert trial.training_reward[1] == pytest.approx([7.1, 7.2, 7.3, 7.4])
    assert trial.reward[0] == pytest.approx([5.1, 5.2, 5.3, 5.4])


def test_episode_returns_are_sums_of_the_true_reward(uneven):
    trial, _ = play(uneven, episodes=2)
    by_hand = [0.1, 2 * 1 + 0.1 + 0.2, 4 * 2 + 0.1 + 0.2 + 0.3 + 0.4]
    assert trial.episode_returns(2) == pytest.approx(np.array([by_hand, by_hand]).T)


@pytest.mark.parametrize(("deterministic_from", "expected"), [(None, [0, 0, 0]), (0, [1, 1, 1]), (2, [0, 0, 1])])
def test_each_task_acts_deterministically_from_its_own_nth_episode(uneven, deterministic_from, expected):
    agent = RecordingAgent()
    trial, _ = play(uneven, episodes=3, agent=agent, deterministic_from=deterministic_from)
    told = torch.stack([deterministic for _, _, deterministic in agent.acted], dim=1).numpy()
    assert np.array_equal(told[trial.mask], np.array(expected, bool)[trial.episode[trial.mask]])


def test_what_an_action_carries_along_is_kept_beside_it(uneven):
    trial, _ = play(uneven, episodes=2)
    assert trial.extras["seen"][2].tolist() == list(range(8))
    assert trial.extras["pair"].shape == (3, 8, 2)
    assert trial.extras["pair"][1, :4].tolist() == [[0, 0], [1, 0], [2, 1], [3, 1]]


def test_a_step_callback_ends_the_trial_there(uneven):
    trial, memory = play(uneven, episodes=2, on_step=lambda event: event.n_active > 2)
    assert trial.reward.shape == (3, 3)
    assert memory.seen.tolist() == [2, 3, 3]
    assert trial.n_transitions == 8


def test_a_step_callback_is_told_the_rewards_and_the_infos():
    events = []
    play(
        together(CountingEnv(3.0, training_reward=(1,))), episodes=1, on_step=lambda event: events.append(event) or True
    )
    assert [event.rewards[0] for event in events] == pytest.approx((3 + REWARDS).tolist())
    assert [event.infos for event in events] == [[{"training_reward": -1.0}], [{}], [{}], [{}]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_value_that_is_not_finite_is_refused_by_task_step_and_value(what, value):
    envs = together(CountingEnv(0.0), CountingEnv(1.0, 2, broken=(what, 3, value)))
    with pytest.raises(NonFiniteError) as error:
        play(envs, episodes=3, labels=[Task({"number": 0.0}), Task({"number": 1.0})])
    assert "task 1 (number=1)" in str(error.value)
    assert "at step 3" in str(error.value)
    assert f"{what} " in str(error.value)
    assert f"{value}" in str(error.value)


def test_a_training_reward_that_is_not_finite_is_refused():
    env = gym.wrappers.TransformReward(CountingEnv(training_reward=(1,)), lambda reward: reward)
    env.env.step = lambda action: (np.zeros(3, np.float32), 0.0, False, False, {"training_reward": float("nan")})
    with pytest.raises(NonFiniteError, match="training_reward nan at step 1"):
        play(together(env))


def test_a_first_observation_that_is_not_finite_is_refused():
    with pytest.raises(NonFiniteError, match=r"task 0 returned observation .*nan.* at step 0"):
        play(together(CountingEnv(float("nan"))))


def test_the_seed_decides_the_starts_and_the_draws():
    def trial(seed):
        return play(together(PointRobotEnv([0.5, 0.5]), PointRobotEnv([0.1, 0.0])), seed=seed, on_step=three_steps())[0]

    def three_steps():
        left = iter([True, True, False])
        return lambda event: next(left)

    assert np.array_equal(trial(0).next_observation, trial(0).next_observation)
    assert not np.array_equal(trial(0).observation[:, 0], trial(1).observation[:, 0])
    assert not np.array_equal(trial(0).action, trial(1).action)


class SeededSeparately(PointRobotVectorEnv):
    """Seeds robot i with ``seed + i``, as ``SyncVectorEnv`` does."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else [seed + i for i in range(self.num_envs)], options=options)


@pytest.mark.parametrize("sparse", [False, True])
def test_separate_environments_and_a_native_vector_give_the_same_trial(sparse):
    goals = [[0.9, 0.1], [-0.5, 0.4], [0.0, -1.0]]
    separate = together(*(gym.wrappers.TimeLimit(PointRobotEnv(goal, sparse=sparse), 20) for goal in goals))
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 3, 2)).astype(np.float32)
    one, _ = play(separate, episodes=3, agent=RecordingAgent(actions))
    other, _ = play(SeededSeparately(goals, sparse=sparse), episodes=3, agent=RecordingAgent(actions))
    for name in ("observation", "action", "reward", "training_reward", "next_observation", "terminated", "truncated"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(one.mask, other.mask)
    assert np.array_equal(one.episode, other.episode)


def test_environments_that_hand_out_their_own_arrays_are_recorded_as_they_were():
    def trial(**options):
        return play(together(CountingEnv(0.0, 2), CountingEnv(1.0, 3), **options), episodes=2)[0]

    copied, shared = trial(copy=True), trial(copy=False)
    assert np.array_equal(copied.observation, shared.observation)
    assert np.array_equal(copied.next_observation, shared.next_observation)
