"""Walks on a line whose environments hold the task in different places: where a change finds it, and where not."""

import threading
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from pearl import Task, TaskDistribution


class Walk(gym.Env[Any, Any]):
    """A walk on a line: the reward is minus the distance to the goal."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, goal: float) -> None:
        self.goal = goal
        self.place = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += float(action[0]) + 0.1 * float(self.np_random.normal())
        return self._observation(), self.reward(), False, False, {}

    def reward(self) -> float:
        return -abs(self.place - self.goal)

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.place], np.float32)


class Walks(TaskDistribution):
    """Tasks of a walk.

    Args:
        build: builds the environment of a goal.
    """

    def __init__(self, build: Callable[[float], gym.Env[Any, Any]] = Walk) -> None:
        self.build = build

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"goal": goal}) for goal in rng.uniform(-5, 5, n).tolist()]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(self.build(task.params["goal"]), 20)


class Precomputed(Walk):
    """The constructor computes from the goal."""

    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.twice = 2 * goal

    def reward(self) -> float:
        return -abs(2 * self.place - self.twice)


class Mixed(Walk):
    """State and task share an array, a dictionary and a list."""

    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.numbers = np.array([0.0, goal, 0.0])
        self.names: dict[str, Any] = {"steps": 0, "goal": goal, "inner": {"best": 0.0, "goal": goal}}
        self.listed: list[Any] = [0, [goal, 0.5]]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.numbers[0] += 1
        self.names["steps"] += 1
        self.names["inner"]["best"] = 7.0
        self.listed[0] += 1
        return super().step(action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.numbers[0] = self.names["steps"] = self.listed[0] = 0
        self.names["inner"]["best"] = 0.0
        return super().reset(seed=seed)

    def reward(self) -> float:
        goals = {self.numbers[1], self.names["goal"], self.names["inner"]["goal"], self.listed[1][0]}
        assert len(goals) == 1
        return float(goals.pop() + self.numbers[0] + self.names["steps"] + self.listed[0])


class Simulated(Walk):
    """The goal lies in an object, whose state changes."""

    class World:
        def __init__(self, goal: float) -> None:
            self.goal, self.age, self.parts = goal, 0, [Part(goal), Part(0.0)]

    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.world = self.World(goal)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.world.age = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.world.age += 1
        return super().step(action)

    def reward(self) -> float:
        return self.world.goal + self.world.parts[0].size + 100 * self.world.age


class Part:
    def __init__(self, size: float) -> None:
        self.size = size


class KeepsItsTask(Walk):
    """The task itself is an attribute."""

    def __init__(self, goal: float) -> None:
        super().__init__(0.0)
        self.task = Task({"goal": goal})

    def reward(self) -> float:
        return float(self.task.params["goal"])


class DrawsAtReset(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        answer = super().reset(seed=seed)
        self.target = 2 * self.goal
        return answer

    def reward(self) -> float:
        return -self.target


class StartsAtTheGoal(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.goal
        return self._observation(), {}


class InC(Walk):
    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.lock = threading.Lock()


class Numbered(Walk):
    count = 0

    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        type(self).count += 1
        self.number = self.count


class Picks(Walk):
    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.chosen = self.near if goal < 2 else self.far

    def near(self) -> float:
        return 0.0

    def far(self) -> float:
        return 1.0

    def reward(self) -> float:
        return self.chosen()


class Other(Simulated.World):
    pass


class OtherWorld(Simulated):
    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.world = self.World(goal) if goal < 2 else Other(goal)


class MoreParts(Simulated):
    def __init__(self, goal: float) -> None:
        super().__init__(goal)
        self.world.parts = [Part(goal) for _ in range(int(goal))]


class HiddenFromPython(Walk):
    """The task lies in a module, not in the environment."""

    goals: dict[int, float] = {}  # noqa: RUF012

    def __init__(self, goal: float) -> None:
        super().__init__(0.0)
        self.goals[id(self)] = goal

    def reward(self) -> float:
        return self.goals[id(self)]
