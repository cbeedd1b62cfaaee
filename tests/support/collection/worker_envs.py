"""Small environments for worker processes, with every kind of space, and some that fail."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pearl import Task, TaskDistribution
from tests.support.small import Counting

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "image": spaces.Box(0, 255, (2, 16, 17, 3), np.uint8),
    "dict": spaces.Dict({"where": spaces.Box(-1, 1, (2,), np.float32), "what": spaces.Discrete(5)}),
    "tuple": spaces.Tuple((spaces.MultiBinary(3), spaces.Dict({"inner": spaces.Box(-1, 1, (1,), np.float64)}))),
    "discrete": spaces.Discrete(7, start=-2),
    "text": spaces.Text(4),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1, 1, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-binary": spaces.MultiBinary(4),
    "dict": spaces.Dict({"turn": spaces.Discrete(3), "push": spaces.Tuple((spaces.Box(-1, 1, (1,)),))}),
}


class Drawn(gym.Env[Any, Any]):
    """Observes and pays random draws and the action; its episode ends after ``length`` steps, and its infos vary."""

    def __init__(self, number: int, observations: str, actions: str, length: int) -> None:
        self.number, self.length = number, length
        # A space of its own: its draws must not depend on what other environments drew.
        self.observation_space, self.action_space = deepcopy(OBSERVATIONS[observations]), ACTIONS[actions]
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {"options": str(options), "seed": -1 if seed is None else seed}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        flat = np.asarray(spaces.flatten(self.action_space, action)).sum()
        ended = self.steps >= self.length
        infos = {"number": self.number, "small": np.float32(flat), "place": np.full((2, 2), self.steps, np.int16)}
        if self.number % 2:
            infos |= {"odd": True, "nested": {"steps": self.steps, "name": f"task {self.number}"}}
        # Merged into one array, numbers would take the type of the first one.
        infos["training_reward"] = 0.25 if self.number == 0 else self.number if self.number == 3 else self.number + 0.5
        observation = self.observation_space.sample()
        return observation, flat + self.np_random.random(), ended and self.number % 2 == 0, ended, infos


class DrawnTasks(TaskDistribution):
    """Tasks of `Drawn`, of which number n has episodes of n + 2 steps."""

    def __init__(self, observations: str = "image", actions: str = "box") -> None:
        self.observations, self.actions = observations, actions

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"number": number}) for number in range(n)]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        number = task.params["number"]
        return Drawn(number, self.observations, self.actions, length=number + 2)


class GymTasks(TaskDistribution):
    """Copies of a registered environment."""

    def __init__(self, identifier: str, horizon: int) -> None:
        self.identifier, self.horizon = identifier, horizon

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"number": number}) for number in range(n)]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(self.identifier, max_episode_steps=self.horizon + task.params["number"])


def exit_python() -> NoReturn:
    """Exit as an environment never should."""
    raise SystemExit(7)


def divide() -> float:
    """Raise ZeroDivisionError."""
    return 1 / 0


def end_of_file() -> NoReturn:
    """Fail as a simulator does whose own pipe closes."""
    raise EOFError("the simulator is gone")


def hang() -> None:
    """Take longer than anyone waits."""
    time.sleep(600)


FAILURES: dict[str, Callable[[], object]] = {
    "divide": divide,
    "exit": exit_python,
    "os-exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": hang,
    "end-of-file": end_of_file,
    "nothing": lambda: None,
}


class Failing(gym.Env[Any, Any]):
    """Fails in one of build, reset or step."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, when: str, how: str) -> None:
        self.when, self.how = when, how
        self._fail("build")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._fail("reset")
        return np.zeros(1, np.float32), {"pid": os.getpid()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._fail("step")
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def close(self) -> None:
        self._fail("close")

    def _fail(self, now: str) -> None:
        if now == self.when:
            FAILURES[self.how]()


class FailingTasks(TaskDistribution):
    """Tasks numbered from 10, of which ``failing`` fail at ``when`` by ``how``, a name in `FAILURES`."""

    def __init__(self, when: str = "step", how: str = "divide", failing: Collection[int] = (13,)) -> None:
        self.when, self.how, self.failing = when, how, failing

    def sample(self, n: int, rng: np.random.Generator) -> list[Task]:
        return [Task({"number": number}) for number in range(10, 10 + n)]

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return Failing(self.when if task.params["number"] in self.failing else "never", self.how)


class HangingCounting(Counting):
    """Resets hang, in worker processes."""

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        env = super().make_env(task)
        if multiprocessing.parent_process() is not None:
            vars(env.unwrapped)["reset"] = lambda **options: hang()
        return env


class MixedTasks(FailingTasks):
    """The last task of 4 has another observation space."""

    def make_env(self, task: Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return DrawnTasks().make_env(task) if task.params["number"] == 13 else Failing("never", "nothing")


class Unpicklable(FailingTasks):
    """Holds a lambda."""

    def __init__(self) -> None:
        super().__init__()
        self.reward = lambda state: 0.0


class Unreadable(FailingTasks):
    """Can be pickled but not unpickled."""

    def __reduce__(self) -> tuple[Callable[[], float], tuple[()]]:
        return divide, ()
