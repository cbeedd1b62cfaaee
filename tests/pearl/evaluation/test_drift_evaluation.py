"""Evaluation within episodes whose task changes, with sessions whose figures are worked out by hand."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import pearl
from pearl import DriftSchedule, Task, TaskDistribution, drifting, evaluate_drift
from pearl.evaluation.drift import TOLD
from pearl.tasks.transforms.drift import Drift
from tests.support.small import Counting, small_model

LENGTH = 40
SWITCH = 20


class SignedEnv(gym.Env[Any, Any]):
    """The reward is the task's sign times the action; a fatal environment terminates at the first negative one."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, sign: float, fatal: bool) -> None:
        self.sign, self.fatal = sign, fatal

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = self.sign * float(action[0])
        return np.zeros(1, np.float32), reward, self.fatal and reward < 0, False, {}


class Signed(TaskDistribution):
    """Tasks of either sign."""

    def __init__(self, *, fatal: bool = False) -> None:
        self.fatal = fatal

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"sign": float((-1) ** number)}) for number in range(n)]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(SignedEnv(task.params["sign"], self.fatal), LENGTH)


class FirstSign:
    """Learns the sign from its first reward; until then it takes the action 1. Its memory is the sign, or 0."""

    class Agent:
        def begin(self, n_tasks: int, rng: Any) -> float:
            assert n_tasks == 1
            return 0.0

    def __init__(self, model: Any = None) -> None:
        self.agent, self.memory = self.Agent(), 0.0
        self.greedy: list[bool] = []

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        self.greedy.append(deterministic)
        return np.array([self.memory or 1.0], np.float32)

    def observe(self, observation: Any, action: Any, reward: float, *rest: Any) -> None:
        self.memory = self.memory or float(np.sign(reward * action[0]))


class Doubting(FirstSign):
    """Forgets the sign after three negative rewards in a row."""

    def __init__(self, model: Any = None) -> None:
        super().__init__(model)
        self.bad = 0

    def observe(self, observation: Any, action: Any, reward: float, *rest: Any) -> None:
        self.bad = self.bad + 1 if reward < 0 else 0
        super().observe(observation, action, reward, *rest)
        if self.bad == 3:
            self.memory, self.bad = -self.memory, 0


def task_of(*signs: float, steps: tuple[int, ...] = (SWITCH,), gradual: bool = False) -> Task:
    return Drift(tuple(Task({"sign": sign}) for sign in signs), steps, gradual).to_task()


def evaluated(tasks: list[Task], *, fatal: bool = False, **arguments: Any) -> dict[str, pearl.DriftEvaluation]:
    sessions: dict[str, Any] = {"first": FirstSign, "doubting": Doubting}
    return evaluate_drift(None, drifting(Signed(fatal=fatal), DriftSchedule(SWITCH)), tasks, sessions, **arguments)


def test_returns_by_segment_and_regret_are_those_worked_out_by_hand():
    found = evaluated([task_of(1.0, -1.0), task_of(-1.0, 1.0)])
    assert set(found) == {"first", "doubting", TOLD}
    # A wrong first action costs 2: told, one at the change to -1, and one at the start in the second task.
    assert found["first"].segment_returns.tolist() == [[20, -20], [18, -20]]
    assert found["doubting"].segment_returns.tolist() == [[20, 14], [18, 14]]
    assert found[TOLD].segment_returns.tolist() == [[20, 18], [18, 20]]
    assert found["first"].returns.tolist() == [0, -2]
    assert found["first"].regret.tolist() == [38, 40]
    assert found["doubting"].regret.tolist() == [4, 6]
    assert found[TOLD].regret.tolist() == [0, 0]


def test_steps_to_recover_are_those_worked_out_by_hand():
    found = evaluated([task_of(1.0, -1.0), task_of(-1.0, 1.0)], window=5, share=0.9)
    assert found["first"].recovery_steps.tolist() == [[20], [20]]
    assert found["first"].recovered.tolist() == [[False], [False]]
    assert found["doubting"].recovery_steps.tolist() == [[3], [3]]
    assert found[TOLD].recovery_steps.tolist() == [[1], [0]]
    assert found[TOLD].recovered.all()


def test_a_lower_share_and_a_shorter_window_let_an_agent_recover_earlier():
    tasks = [task_of(1.0, -1.0)]
    # The mean of the window from step k on is (2k - 1) / 5 for k up to 3; the random policy's is about 0.
    assert evaluated(tasks, window=5, share=0.5)["doubting"].recovery_steps.tolist() == [[2]]
    assert evaluated(tasks, window=5, share=0.1)["doubting"].recovery_steps.tolist() == [[1]]
    assert evaluated(tasks, window=1)["doubting"].recovery_steps.tolist() == [[3]]


class Late(FirstSign):
    """Knows each sign, but acts wrongly in steps 30 to 32."""

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        super().act(observation)
        n = len(self.greedy) - 1
        return np.array([(1.0 if n < SWITCH else -1.0) * (-1.0 if 30 <= n < 33 else 1.0)], np.float32)


def test_an_agent_has_recovered_only_when_its_reward_stays_high():
    found = evaluate_drift(
        None, drifting(Signed(), DriftSchedule(SWITCH)), [task_of(1.0, -1.0)], {"first": FirstSign, "late": Late}
    )
    assert found["late"].recovery_steps.tolist() == [[13]]
    assert found["late"].recovered.tolist() == [[True]]


def test_rewards_around_a_change_are_aligned_and_stay_in_the_segments_beside_it():
    found = evaluated([task_of(1.0, -1.0, 1.0, steps=(10, 14))])["doubting"]
    nan = np.nan
    rows = [
        [nan] * 2 + [1.0] * 10 + [-1, -1, -1, 1] + [nan] * 8,
        [nan] * 8 + [-1, -1, -1, 1] + [-1, -1, -1] + [1.0] * 9,
    ]
    np.testing.assert_array_equal(found.around_switches(12, 12), rows)
    np.testing.assert_array_equal(found.around_switches(2, 3), [[1, 1, -1, -1, -1], [-1, 1, -1, -1, -1]])
    np.testing.assert_array_equal(found.curve(2, 5), [0, 1, -1, -1, -1, 1, 1])
    np.testing.assert_array_equal(found.around_switches(0, 2), [[-1, -1], [-1, -1]])


def test_figures_are_means_over_tasks_and_changes():
    figures = evaluated([task_of(1.0, -1.0), task_of(-1.0, 1.0)])["doubting"].figures()
    assert figures == {"drift/return": 33.0, "drift/regret": 5.0, "drift/recovery_steps": 3.0, "drift/recovered": 1.0}


def test_an_episode_that_ends_before_or_at_a_change_is_left_out_and_its_missing_rewards_count_as_0():
    tasks = [task_of(1.0, -1.0), task_of(-1.0, 1.0)]
    found = evaluated(tasks, fatal=True)
    assert np.isfinite(found["first"].rewards).sum(1).tolist() == [21, 1]
    assert found["first"].segment[0, 19:21].tolist() == [0, 1]
    assert found["first"].segment[1, :2].tolist() == [0, -1]
    np.testing.assert_array_equal(found["first"].segment_returns, [[20, -1], [-1, np.nan]])
    assert found["first"].returns.tolist() == [19, -1]
    assert np.isnan(found["first"].recovery_steps).all()  # The told agent's episode ends too.
    assert np.isnan(found["first"].figures()["drift/recovered"])
    np.testing.assert_array_equal(found["first"].around_switches(1, 2), [[1, -1, np.nan], [np.nan] * 3])


def test_where_all_episodes_end_before_a_change_nothing_is_known_of_it():
    found = evaluated([task_of(-1.0, 1.0)], fatal=True)
    for name in found:
        assert np.isnan(found[name].around_switches(3, 4)).all()
        assert found[name].around_switches(3, 4).shape == (1, 7)
        assert found[name].rewards.shape == (1, SWITCH)


def test_an_agent_whose_episode_ends_has_not_recovered_where_the_told_one_goes_on():
    class Knowing(FirstSign):
        """Told of the change it goes on; otherwise it stays with the first action."""

        class Agent:
            def begin(self, n_tasks: int, rng: Any) -> float:
                return -1.0

    family = drifting(Signed(fatal=True), DriftSchedule(SWITCH))
    found = evaluate_drift(None, family, [task_of(1.0, -1.0)], {"knowing": Knowing})
    assert found["knowing"].recovery_steps.tolist() == [[20]]
    assert found["knowing"].recovered.tolist() == [[False]]
    assert found["knowing"].regret.tolist() == [40 - 19]
    assert found[TOLD].recovery_steps.tolist() == [[0]]


def test_segments_shorter_than_the_window_and_tasks_of_fewer_changes_are_unknown():
    found = evaluated([task_of(1.0, -1.0, 1.0, steps=(10, 14)), task_of(1.0, -1.0)], window=5)["doubting"]
    np.testing.assert_array_equal(found.recovery_steps, [[np.nan, 3], [3, np.nan]])
    assert np.isnan(found.segment_returns[1, 2])
    assert found.around_switches(1, 1).shape == (3, 2)


def test_a_task_without_a_change_has_nothing_to_recover_from():
    found = evaluated([task_of(1.0, steps=()), task_of(1.0, -1.0)])
    np.testing.assert_array_equal(found["first"].recovery_steps, [[np.nan], [20]])
    assert found["first"].regret.tolist() == [0, 38]
    assert evaluated([task_of(1.0, steps=())])["first"].around_switches(2, 2).shape == (0, 4)


def test_sessions_act_deterministically_where_it_is_asked_for():
    made: list[FirstSign] = []

    def make(model: Any) -> FirstSign:
        made.append(FirstSign())
        return made[-1]

    family = drifting(Signed(), DriftSchedule(SWITCH))
    for deterministic in (False, True):
        evaluate_drift(None, family, [task_of(1.0, -1.0)], {"first": make}, deterministic=deterministic)
        assert set(made[-1].greedy) == {deterministic}


def test_each_session_is_new_and_made_of_the_model():
    models: list[Any] = []

    def make(model: Any) -> FirstSign:
        models.append(model)
        return FirstSign()

    evaluate_drift("a model", drifting(Signed(), DriftSchedule(SWITCH)), [task_of(1.0, -1.0)] * 3, {"first": make})
    assert models == ["a model"] * 6  # One a task, and one that is told.


def test_a_models_session_acts_as_the_told_one_until_the_change_and_repeats_exactly():
    family = drifting(Counting(9), DriftSchedule(4))
    model = small_model(family, agent={"exploration": {"z_follows_posterior": True}}).learn(40)
    acted: list[list[Any]] = []

    def session(model: Any) -> pearl.Session:
        made: pearl.Session = model.session(seed=0)
        act = made.act
        actions: list[Any] = []
        acted.append(actions)

        def recorded(observation: Any, deterministic: bool = False) -> Any:
            actions.append(act(observation, deterministic).tolist())
            return np.array(actions[-1], np.float32)

        made.act = recorded
        return made

    found, again = (evaluate_drift(model, family, model.test_tasks, {"plain": session}) for _ in range(2))
    assert found["plain"].rewards.shape == (3, 9)
    assert np.array_equal(found["plain"].rewards, again["plain"].rewards)
    assert acted[:6] == acted[6:]
    for unaware, told in zip(acted[:6:2], acted[1:6:2], strict=True):
        assert unaware[:4] == told[:4]
        assert unaware[4:] != told[4:]


class WithoutMemory:
    """Acts, but has no memory that could be replaced."""

    def __init__(self, model: Any) -> None:
        pass

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        return np.ones(1, np.float32)

    def observe(self, *transition: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"distribution": Signed()},
            TypeError,
            r"distribution must be one whose tasks drift, got a Signed. Write pearl\.",
        ),
        ({"sessions": {}}, ValueError, "There must be a kind of session"),
        ({"sessions": {"told": FirstSign}}, ValueError, "'told' is the name of the reference"),
        (
            {"sessions": {"none": WithoutMemory}},
            TypeError,
            "needs the attributes agent and memory, got a WithoutMemory",
        ),
        ({"window": 0}, ValueError, "window must be at least 1 environment step, got 0"),
        ({"share": 0.0}, ValueError, "share must be above 0 and at most 1, got 0"),
        ({"tasks": []}, ValueError, "tasks must hold at least one task"),
        ({"tasks": [Task({"sign": 1.0})]}, ValueError, "A drifting task has the parameters"),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(changed, error, message):
    family = drifting(Signed(), DriftSchedule(SWITCH))
    sessions = {"first": FirstSign}
    arguments: dict[str, Any] = {"distribution": family, "tasks": [task_of(1.0, -1.0)], "sessions": sessions, **changed}
    with pytest.raises(error, match=message):
        evaluate_drift(None, **arguments)
