"""The diagnosis of a meta-trained agent."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

import pearl
from pearl.evaluation import diagnosis
from pearl.evaluation.diagnosis import diagnosis_lines, for_unused_z
from pearl.tasks import Task, TaskDistribution
from tests.support.small import Counting, small_model


class SameForAll(gym.Env[np.ndarray, np.ndarray]):
    """The reward is the action, whatever the task; the second entry of the observation never changes."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self._observation(), float(action[0]), False, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.np_random.uniform(-1, 1), 0.5], np.float32)


class TasksWithoutADifference(TaskDistribution):
    name = "no-difference"

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"number": number}) for number in rng.integers(2**40, size=n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[np.ndarray, np.ndarray]:
        return gym.wrappers.TimeLimit(SameForAll(), 10)


def names(model: pearl.PEARL) -> set[str]:
    return {finding.name for finding in model.diagnose()}


@pytest.fixture(scope="module")
def indifferent() -> pearl.PEARL:
    config = pearl.PEARLConfig()
    config = replace(
        config,
        training=replace(config.training, n_train_tasks=8, total_steps=1_200),
        evaluation=replace(config.evaluation, n_test_tasks=8),
    )
    return pearl.PEARL(TasksWithoutADifference(), config).learn()


@pytest.fixture(scope="module")
def balancing():
    """CartPole, whose reward is 1 in every step."""
    return small_model("varying-cartpole", training={"replay_capacity": 2_000}).learn(1_000)


def test_a_published_agent_has_no_findings():
    assert pearl.load("pretrained/point-robot").diagnose() == []


def test_an_untrained_agent_is_not_trained_and_nothing_else():
    assert names(small_model(evaluation={"n_test_tasks": 6})) == {"not trained"}


def test_a_random_policys_returns_are_no_better_than_random(indifferent):
    evaluation = indifferent.evaluate()
    random = np.asarray(evaluation.references.random_by_task)[:, None] - np.arange(3.0)[::-1]
    found = {finding.name for finding in indifferent.diagnose(replace(evaluation, returns=random))}
    assert "no better than random" in found


class Same(Counting):
    """Pays the same in every step of episodes that only a time limit ends."""

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.wrappers.TransformReward(super().make_env(task), lambda reward: 1.25)


def test_rewards_that_never_vary_are_the_only_finding():
    assert names(small_model(Same()).learn(200)) == {"rewards that never vary"}


def test_a_reward_for_every_step_until_an_episode_terminates_is_something_to_maximise(balancing):
    assert "rewards that never vary" not in names(balancing)


def test_z_is_unused_where_tasks_do_not_differ(indifferent):
    assert "z unused" in names(indifferent)


def test_task_inference_is_advised_where_it_is_not_set_and_tasks_stay_as_they_are():
    counting = Counting()
    plain = small_model(counting, agent={"auxiliary": {"task_inference_weight": 0.0}})
    assert "task_inference_weight to 1" in for_unused_z(plain.agent, counting)
    assert not for_unused_z(plain.agent, pearl.drifting(counting, pearl.DriftSchedule(2)))
    inferring = small_model(counting, agent={"auxiliary": {"task_inference_weight": 0.5}})
    assert not for_unused_z(inferring.agent, counting)


def test_a_constant_entry_of_the_observation_is_named(indifferent):
    found = {finding.name: finding.message for finding in indifferent.diagnose()}
    assert "1 of 2 entries" in found["observations that never vary"]
    assert "(1)" in found["observations that never vary"]


def test_an_entropy_far_under_its_target_and_values_far_from_the_returns_are_found(indifferent, monkeypatch):
    monkeypatch.setattr(indifferent.training, "metrics", {"entropy": -20.0, "q_mean": -40.0})
    assert {"entropy gone", "critics diverging"} <= names(indifferent)
    monkeypatch.setattr(indifferent.training, "metrics", {"entropy": 0.1, "q_mean": 0.5})
    assert not {"entropy gone", "critics diverging"} & names(indifferent)


@pytest.mark.parametrize(("share", "found"), [(1.0, True), (0.96, True), (0.94, False)])
def test_a_finite_set_of_actions_that_is_played_at_random_is_found(share, found, monkeypatch, balancing):
    monkeypatch.setattr(balancing.training, "metrics", {"entropy": share * float(np.log(2))})
    assert ("actions stay random" in names(balancing)) == found


def test_a_last_episode_like_the_first_is_no_adaptation(indifferent):
    evaluation = indifferent.evaluate()
    level = replace(evaluation, returns=np.repeat(evaluation.returns[:, :1], 3, axis=1))
    assert "no adaptation" in {finding.name for finding in indifferent.diagnose(level)}
    better = replace(evaluation, returns=evaluation.returns[:, :1] + np.arange(3.0))
    assert "no adaptation" not in {finding.name for finding in indifferent.diagnose(better)}


@pytest.mark.parametrize("follows", [True, False])
def test_where_z_follows_a_first_episode_as_good_as_the_last_has_adapted(follows):
    model = pearl.load("pretrained/point-robot", z_follows_posterior=follows)
    evaluation = model.evaluate()
    level = replace(evaluation, returns=np.repeat(evaluation.returns[:, -1:], 3, axis=1))
    assert {finding.name for finding in model.diagnose(level)} == (set() if follows else {"no adaptation"})


def test_later_episodes_that_are_worse_than_the_first_are_found():
    model = pearl.load("pretrained/point-robot", z_follows_posterior=True)
    evaluation = model.evaluate()
    worse = replace(evaluation, returns=evaluation.returns[:, :1] - np.arange(3.0))
    assert {finding.name for finding in model.diagnose(worse)} == {"worse in later episodes"}


def test_a_sweep_stands_still_where_a_kept_z_is_compared():
    swept = pearl.load("pretrained/point-robot", z_follows_posterior=True)
    assert swept.diagnose() == []
    swept.agent._sweep = 0.05
    level = swept.evaluate()
    level = replace(level, returns=np.repeat(level.returns[:, -1:], 3, axis=1))
    assert {finding.name for finding in swept.diagnose(level)} == set()


def test_another_tasks_z_stays_in_the_test_of_its_use_even_if_z_follows():
    assert pearl.load("pretrained/varying-cartpole", z_follows_posterior=True).diagnose() == []


def test_exploration_that_shows_less_than_a_random_policys_is_found(monkeypatch):
    model = pearl.load("pretrained/point-robot")
    evaluation = model.evaluate()
    # An evaluation whose trials showed nothing: the memory of a trial's beginning.
    unseen = replace(evaluation, memory=model.agent.begin(len(model.test_tasks), model._rng))
    found = {finding.name for finding in model.diagnose(unseen)}
    assert {"exploration worse than random", "z unused"} <= found


class Hidden(gym.Env[np.ndarray, np.ndarray]):
    """Pays only far out on one side."""

    observation_space = Box(-99, 99, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, side: int) -> None:
        self.side = side

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place += float(action[0])
        reached = self.place * self.side > 3.5
        return np.array([self.place], np.float32), float(reached), False, False, {}


class HiddenSides(TaskDistribution):
    name, same_tasks = "hidden-sides", True

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"side": side}) for side in rng.choice([-1, 1], size=n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[np.ndarray, np.ndarray]:
        return gym.wrappers.TimeLimit(Hidden(task.params["side"]), 20)


class KnownSides(HiddenSides):
    def relabel(self, tasks: Any, observation: Any, action: Any, next_observation: Any) -> Any:
        side = np.array([task.params["side"] for task in tasks])[:, None]
        reward = (next_observation[..., 0] * side > 3.5).astype(np.float32)
        return reward, reward


FOR_RARE = {
    "training": {"relabelling": {"candidates": 64}, "initial_policy": "steady"},
    "agent": {"exploration": {"sweep": 0.05}, "auxiliary": {"early_kl_weight": 0.003}},
}


UNHELPED = {
    "training": {"relabelling": {"candidates": 0}, "initial_policy": "random"},
    "agent": {"exploration": {"sweep": 0.0}, "auxiliary": {"early_kl_weight": 0.0}},
}


def rare_rewards(distribution: TaskDistribution, settings: dict[str, Any] | None = None) -> list[str]:
    model = small_model(distribution, training={"total_steps": 2_000}).learn(2_000)
    if settings is not None:  # The agent as it is, as if it had been trained with these.
        other = small_model(distribution, **settings)
        model.config, model.agent.config = other.config, other.agent.config
    return [message for name, message in model.diagnose() if name == "rare rewards"]


def test_goals_that_random_actions_hardly_meet_are_found_with_the_settings_for_them():
    (message,) = rare_rewards(HiddenSides())
    assert message.endswith("TaskDistribution.relabel: on the CPU, settings that help are then chosen by themselves.")
    (message,) = rare_rewards(KnownSides(), UNHELPED)
    assert "searched for. Set training.relabelling.candidates to 512" in message
    assert "training.initial_policy to steady." in message


def test_settings_that_are_set_are_not_asked_for():
    without = {"exploration": {"sweep": 0.05}, "auxiliary": {"early_kl_weight": 0.0}}
    (message,) = rare_rewards(KnownSides(), FOR_RARE | {"agent": without})
    assert message.endswith("searched for. Set agent.auxiliary.early_kl_weight to 0.003.")
    assert rare_rewards(KnownSides(), FOR_RARE) == []
    assert rare_rewards(KnownSides()) == []  # By themselves.


def test_rewards_are_not_rare_where_episodes_terminate(monkeypatch):
    explored = diagnosis._explored_at_random

    def terminating(*arguments):
        played, memory = explored(*arguments)
        return played._replace(terminated=played.mask), memory

    monkeypatch.setattr(diagnosis, "_explored_at_random", terminating)
    assert rare_rewards(HiddenSides()) == []


def test_each_finding_is_one_line_and_none_says_so(indifferent):
    lines = diagnosis_lines(indifferent.diagnose())
    assert lines
    assert all(line.startswith("Diagnosis: ") and "\n" not in line for line in lines)
    assert diagnosis_lines([]) == ["Diagnosis: nothing found."]


def test_learning_aloud_prints_the_size_of_an_iteration_evaluations_and_the_diagnosis(capsys):
    model = small_model(evaluation={"n_test_tasks": 4}, training={"tasks_per_iteration": 3, "episodes_per_trial": 2})
    model.learn(verbose=1)
    printed = capsys.readouterr().out
    steps = 3 * 2 * model.horizon
    assert printed.startswith(
        f"An iteration is up to {steps} environment steps: 3 tasks × 2 episodes × {model.horizon} steps."
    )
    assert "environment steps: return by episode" in printed
    assert "Diagnosis: " in printed.splitlines()[-1]


def test_the_size_of_an_iteration_counts_no_task_that_there_is_not():
    model = small_model(training={"n_train_tasks": 2, "tasks_per_iteration": 10, "episodes_per_trial": 3})
    assert ": 2 tasks × 3 episodes × " in model.training.iteration_line(model.horizon)


def test_the_diagnosis_changes_neither_weights_nor_draws(indifferent):
    before = {name: weight.clone() for name, weight in indifferent.agent.state_dict().items()}
    draws = indifferent._rng.get_state()
    indifferent.diagnose()
    assert all(weight.equal(before[name]) for name, weight in indifferent.agent.state_dict().items())
    assert indifferent._rng.get_state().equal(draws)
