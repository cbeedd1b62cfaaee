"""A task distribution from an environment class and a function that draws its arguments."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

import pearl


class Problem:
    """A problem: its environment class, how its tasks are drawn, and the steps of an episode.

    Args:
        env: built with a task's parameters as keyword arguments.
        draw: returns a task's parameters.
        horizon: steps of an episode.
    """

    def __init__(
        self,
        env: Callable[..., gym.Env[Any, Any]],
        draw: Callable[[np.random.Generator], dict[str, Any]],
        *,
        horizon: int,
    ) -> None:
        self.env, self.draw, self.horizon = env, draw, horizon

    def named(self, name: str) -> "Callable[[], ProblemTasks]":
        """Return a function that builds the problem's task distribution under a name."""
        return lambda: ProblemTasks(self, name)


class ProblemTasks(pearl.TaskDistribution):
    """The tasks of a problem."""

    def __init__(self, problem: Problem, name: str) -> None:
        self.problem, self.name = problem, name

    def sample(self, n: int, rng: np.random.Generator) -> list[pearl.Task]:
        """Draw ``n`` tasks."""
        return [pearl.Task(self.problem.draw(rng)) for _ in range(n)]

    def make_env(self, task: pearl.Task, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment of ``task`` with its time limit."""
        return TimeLimit(self.problem.env(**task.to_json()), self.problem.horizon)
