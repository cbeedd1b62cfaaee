"""Units of rewards, observations and actions do not matter with the default settings."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

import pearl
from pearl.tasks import Task, TaskDistribution

HORIZON = 20


class Cart(gym.Env[np.ndarray, np.ndarray]):
    """A mass on a line that has to reach the task's place; each quantity in a unit of its own."""

    def __init__(self, place: float, units: "Units") -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-units.action, units.action, (1,), np.float32)
        self._place, self._units = place, units
        self._state = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._state = self.np_random.uniform(-0.1, 0.1, 2).astype(np.float32)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        force = np.float32(action[0] / self._units.action)
        self._state[1] += np.float32(0.2) * force
        self._state[0] += np.float32(0.2) * self._state[1]
        reward = np.float32(-abs(self._state[0] - np.float32(self._place)))
        return self._observation(), float(self._units.reward * reward) + self._units.bonus, False, False, {}

    def _observation(self) -> np.ndarray:
        return self._state * np.array(self._units.observation, np.float32)


class Units(TaskDistribution):
    """Carts in given units."""

    name = "units"

    def __init__(
        self,
        *,
        reward: float = 1.0,
        bonus: float = 0.0,
        observation: tuple[float, float] = (1.0, 1.0),
        action: float = 2.0,
    ) -> None:
        self.reward, self.bonus, self.observation, self.action = reward, bonus, observation, action

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"place": place}) for place in rng.uniform(-1, 1, n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[np.ndarray, np.ndarray]:
        return gym.wrappers.TimeLimit(Cart(task.params["place"], self), HORIZON)


def trained(distribution: TaskDistribution) -> pearl.PEARL:
    config = pearl.PEARLConfig()
    config = replace(
        config,
        training=replace(config.training, n_train_tasks=6, total_steps=2_000, gradient_steps_per_env_step=0.1),
        evaluation=replace(config.evaluation, n_test_tasks=3),
    )
    return pearl.PEARL(distribution, config, seed=0).learn(1_200)


def returns(model: pearl.PEARL) -> np.ndarray:
    return np.asarray(model.evaluate().returns)


@pytest.fixture(scope="module")
def plain() -> pearl.PEARL:
    return trained(Units())


@pytest.mark.parametrize(
    "units",
    [
        {"reward": 2.0**10},
        {"reward": 2.0**-10},
        {"observation": (2.0**10, 2.0**-12)},
        {"action": 2.0**11},
        {"reward": 2.0**-7, "observation": (2.0**-9, 2.0**5), "action": 2.0**-6},
    ],
)
def test_units_that_are_powers_of_two_change_no_weight(plain, units):
    model = trained(Units(**units))
    for name, weight in plain.agent.named_parameters():
        assert weight.equal(dict(model.agent.named_parameters())[name]), name
    np.testing.assert_array_equal(returns(model) / units.get("reward", 1.0), returns(plain))


@pytest.mark.parametrize(
    "units",
    [{"reward": 1_000.0}, {"reward": 0.001, "bonus": 5.0}, {"observation": (1e3, 1e-3)}, {"action": 700.0}],
)
def test_any_other_units_learn_the_same_up_to_rounding(plain, units):
    found = (returns(trained(Units(**units))) - HORIZON * units.get("bonus", 0.0)) / units.get("reward", 1.0)
    np.testing.assert_allclose(found.mean(0), returns(plain).mean(0), rtol=0.03)
