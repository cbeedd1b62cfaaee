"""Problems with a finite set of actions."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
MOVES = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Moves in a grid: stay, north, south, east, west"""


class Grid(gym.Env[FloatArray, Any]):
    """A walker looks for a goal it does not see in a grid of 5 × 5 cells; it slips at times."""

    def __init__(self, goal: int, slip: float) -> None:
        self.observation_space, self.action_space = Box(0.0, 4.0, (2,), np.float32), Discrete(5)
        self.goal, self.slip = np.array(divmod(goal, 5)), slip

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start in the corner."""
        super().reset(seed=seed)
        self.cell = np.zeros(2, np.int64)
        return self.cell.astype(np.float32), {}

    def step(self, action: int) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Move; the reward is 1 on the goal."""
        if self.np_random.random() < self.slip:
            action = int(self.np_random.integers(5))
        self.cell = np.clip(self.cell + MOVES[int(action)], 0, 4)
        return self.cell.astype(np.float32), float((self.cell == self.goal).all()), False, False, {}


class Bandit(gym.Env[FloatArray, Any]):
    """Each arm of a bandit pays its mean and noise of deviation 0.5."""

    def __init__(self, means: list[float]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (1,), np.float32), Discrete(len(means))
        self.means = means

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode; nothing is observed."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        reward = self.means[int(action)] + 0.5 * self.np_random.normal()
        return np.zeros(1, np.float32), float(reward), False, False, {}


class Ring(gym.Env[Any, Any]):
    """A ring of eight states; each action moves by an unknown number of states, and one unknown state pays 1."""

    def __init__(self, moves: list[int], goal: int, slip: float) -> None:
        self.observation_space, self.action_space = Discrete(8), Discrete(len(moves))
        self.moves, self.goal, self.slip = moves, goal, slip

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start in any state."""
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(8))
        return self.state, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move around the ring."""
        if self.np_random.random() < self.slip:
            action = int(self.np_random.integers(len(self.moves)))
        self.state = (self.state + self.moves[int(action)]) % 8
        return self.state, float(self.state == self.goal), False, False, {}


class Inventory(gym.Env[FloatArray, Any]):
    """A shop orders up to nine pieces a day at price 1; demand, selling price and cost of storage are unknown."""

    def __init__(self, demand: float, price: float, storage: float) -> None:
        self.observation_space, self.action_space = Box(0.0, 20.0, (2,), np.float32), Discrete(10)
        self.demand, self.price, self.storage = demand, price, storage

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start with an empty store."""
        super().reset(seed=seed)
        self.stock, self.sold = 0, 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Order, sell what is asked for, and pay for what is left; the reward is the day's profit."""
        ordered = min(int(action), 20 - self.stock)
        self.stock += ordered
        self.sold = min(self.stock, int(self.np_random.poisson(self.demand)))
        self.stock -= self.sold
        profit = self.price * self.sold - ordered - self.storage * self.stock
        return self._observation(), float(profit), False, False, {}

    def _observation(self) -> FloatArray:
        return np.array([self.stock, self.sold], np.float32)
