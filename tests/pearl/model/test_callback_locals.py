"""Callbacks read what stable-baselines3 gives them: an info of each environment, with its episodes' statistics."""

import csv
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.logger import CSVOutputFormat, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import safe_mean

from pearl import Task, TaskDistribution
from tests.support.small import INITIAL, ITERATION, CountingEnv, small_model


class Lasting(TaskDistribution):
    """Tasks numbered from 1; the episodes of number n take n + 1 steps and are cut off, or terminate where n is even.

    Args:
        wrap: around each environment.
    """

    def __init__(self, wrap=lambda env: env):
        self.wrap = wrap

    def sample(self, n, rng):
        return [Task({"number": number}) for number in range(1, n + 1)]

    def make_env(self, task, *, render_mode=None):
        number = task.params["number"]
        env = CountingEnv(number, number + 1, ending="terminated" if number % 2 == 0 else "truncated")
        return self.wrap(gym.wrappers.TimeLimit(env, 10))


class Successful(gym.Wrapper):
    """Tells success, as the environment's number says, under ``key``."""

    def __init__(self, env, key):
        super().__init__(env)
        self.key = key

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info | {self.key: self.get_wrapper_attr("number") > 2}


def trained(callback=None, steps=100, family=None, **options):
    """A model of four tasks whose trials end at different steps."""
    model = small_model(Lasting() if family is None else family, training=options.pop("training", {}))
    return model.learn(steps, callback=callback, **options)


def finished_episodes(model):
    """Episodes that training kept, as (return, length), sorted."""
    replay, found = model.training.replay, []
    for task, n in enumerate(replay.n_added.tolist()):
        number, length = model.train_tasks[task].params["number"], model.train_tasks[task].params["number"] + 1
        assert n % length == 0
        found += [(pytest.approx(number * length + length * (length + 1) / 20), length)] * (n // length)
    return sorted(found, key=lambda episode: episode[1])


@pytest.mark.parametrize("training", [{}, {"tasks_per_iteration": 2}, {"tasks_per_iteration": 1}])
@pytest.mark.parametrize(
    "wrap",
    [lambda env: env, gym.wrappers.RecordEpisodeStatistics, Monitor],
    ids=["plain", "RecordEpisodeStatistics", "Monitor"],
)
def test_the_usual_loop_over_infos_counts_every_finished_episode(wrap, training):
    episodes: list[Any] = []
    done: list[Any] = []

    def callback(local, _):
        episodes.extend(info["episode"] for info in local["infos"] if "episode" in info)
        done.append(int(local["dones"].sum()))
        return True

    model = trained(callback, family=Lasting(wrap), training=training)
    assert sum(done) == len(episodes) > 12
    assert sorted(((e["r"], e["l"]) for e in episodes), key=lambda episode: episode[1]) == finished_episodes(model)
    assert all(e["t"] >= 0 for e in episodes)


def test_an_idle_tasks_info_is_empty_and_its_reward_nothing():
    returns, idled = np.zeros(4), 0

    def callback(local, _):
        nonlocal idled
        returns[:] += local["rewards"]
        idle = [not info for info in local["infos"]]
        assert not local["rewards"][idle].any()
        idled += sum(idle)
        return True

    model = trained(callback, steps=40)
    assert idled > 0
    assert returns.sum() == pytest.approx(sum(episode["r"] for episode in model.ep_info_buffer))


def test_infos_tell_time_limits_from_terminations():
    seen = set()

    def callback(local, _):
        for number, (info, done) in enumerate(zip(local["infos"], local["dones"], strict=True), start=1):
            seen.add((number % 2, bool(done), info.get("TimeLimit.truncated")))
        return True

    trained(callback)
    assert seen == {
        (1, True, True),
        (1, False, False),
        (0, True, False),
        (0, False, False),
        (1, False, None),
        (0, False, None),
    }


def test_what_environments_tell_reaches_the_info_of_their_own_task():
    numbers: dict[int, Any] = {}

    def callback(local, _):
        for row, info in enumerate(local["infos"]):
            if "success" in info:
                numbers.setdefault(row, set()).add(bool(info["success"]))
        return True

    trained(callback, family=Lasting(lambda env: Successful(env, "success")))
    assert numbers == {0: {False}, 1: {False}, 2: {True}, 3: {True}}


def test_the_buffer_of_episodes_holds_the_newest_hundred():
    model = trained(steps=40)
    buffer = [(episode["r"], episode["l"]) for episode in model.ep_info_buffer]
    assert sorted(buffer, key=lambda episode: episode[1]) == finished_episodes(model)
    assert safe_mean([episode["l"] for episode in model.ep_info_buffer]) == pytest.approx(3.5)
    assert len(model.learn(700).ep_info_buffer) == 100


@pytest.mark.parametrize("key", ["is_success", "success"])
def test_the_buffer_of_successes_holds_the_last_word_of_each_episode(key):
    model = trained(steps=40, family=Lasting(lambda env: Successful(env, key)))
    assert np.mean(model.ep_success_buffer) == 0.5
    assert len(model.ep_success_buffer) == len(model.ep_info_buffer)


def test_an_info_called_episode_that_is_something_else_stays_out_of_the_buffer():
    class Numbered(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, info | {"episode": 3}

    seen = []
    model = trained(lambda local, _: seen.append(local["infos"][0].get("episode")) or True, family=Lasting(Numbered))
    assert set(seen) <= {3, None}
    assert not model.ep_info_buffer


@pytest.fixture
def rows(tmp_path):
    """Reads what a model's logger wrote."""
    logger = Logger(folder=str(tmp_path), output_formats=[CSVOutputFormat(str(tmp_path / "log.csv"))])

    def read(model=None):
        if model is not None:
            model.set_logger(logger)
            return model
        with (tmp_path / "log.csv").open() as file:
            return list(csv.DictReader(file))

    yield read
    logger.close()


def test_logs_are_written_every_so_many_episodes(rows):
    model = rows(small_model(Lasting()))
    model.learn(40, log_interval=6)
    means = [row["rollout/ep_len_mean"] for row in rows() if row["rollout/ep_len_mean"]]
    assert len(means) == len(model.ep_info_buffer) // 6 == 2
    assert float(means[-1]) == pytest.approx(safe_mean([e["l"] for e in model.ep_info_buffer]))
    assert [row["rollout/ep_rew_mean"] != "" for row in rows()].count(True) == 2


def test_without_an_interval_logs_are_written_at_evaluations_alone(rows):
    rows(small_model(Lasting())).learn(40)
    assert all(row["test/return_ep1"] for row in rows())


@pytest.mark.parametrize("value", [True, 2.5, "4"])
def test_a_progress_bar_in_the_old_place_is_answered_with_its_name(value):
    with pytest.raises(TypeError, match=r"log_interval must be a number of episodes.*progress_bar=True"):
        small_model().learn(INITIAL, None, value)


def test_a_log_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="log_interval must be at least 1 episode, or None"):
        small_model().learn(INITIAL, log_interval=0)


def test_learn_takes_arguments_in_stable_baselines3s_order(capsys):
    stop = StopTrainingOnMaxEpisodes(max_episodes=1, verbose=1)
    small_model().learn(1_000, stop, 4, "counting", True, False)
    assert "because the counting model reached max_episodes=1" in capsys.readouterr().out


def test_a_model_that_has_trained_cannot_count_from_nothing():
    model = small_model().learn(INITIAL, reset_num_timesteps=True)
    with pytest.raises(ValueError, match=r"trained for 16 environment steps.*reset_num_timesteps=True.*new model"):
        model.learn(ITERATION, reset_num_timesteps=True)
    assert model.learn(ITERATION, reset_num_timesteps=False).num_timesteps == INITIAL + ITERATION


def test_a_local_variable_that_is_not_here_is_answered_with_those_that_are():
    with pytest.raises(KeyError, match=r"new_obs.*dones.*infos.*rewards.*training\.replay"):
        small_model().learn(INITIAL, callback=lambda local, _: bool(local["new_obs"]))
    small_model().learn(INITIAL, callback=lambda local, _: local.get("new_obs") is None)
