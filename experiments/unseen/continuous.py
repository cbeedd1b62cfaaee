"""Problems with continuous actions."""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Step = tuple[FloatArray, float, bool, bool, dict[str, Any]]


class ContinuousEnv(gym.Env[FloatArray, FloatArray], ABC):
    """Environment of observed numbers and actions in [−1, 1]; only its time limit ends an episode."""

    def __init__(self, n_observed: int, n_actions: int) -> None:
        self.observation_space = Box(-np.inf, np.inf, (n_observed,), np.float32)
        self.action_space = Box(-1.0, 1.0, (n_actions,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.begin()
        return self._observation(), {}

    def step(self, action: FloatArray) -> Step:
        """Play one step."""
        reward = self.play(np.clip(np.asarray(action, np.float64), -1.0, 1.0))
        return self._observation(), float(reward), False, False, {}

    @abstractmethod
    def begin(self) -> None:
        """Draw the first state."""

    @abstractmethod
    def play(self, action: NDArray[np.float64]) -> float:
        """Change the state by an action and return the reward."""

    @abstractmethod
    def observed(self) -> list[float]:
        """Return what is seen of the state."""

    def _observation(self) -> FloatArray:
        return np.array(self.observed(), np.float32)


class Heating(ContinuousEnv):
    """A room is held at a temperature (°C) that its user wants, by a heater of unknown power; the weather changes."""

    def __init__(self, power: float, loss: float, wanted: float) -> None:
        super().__init__(3, 1)
        self.power, self.loss, self.wanted = power, loss, wanted

    def begin(self) -> None:
        """Draw the temperatures of the room and of the air outside."""
        self.inside, self.outside = self.np_random.uniform(10.0, 25.0), self.np_random.uniform(-5.0, 10.0)
        self.change = 0.0

    def play(self, action: NDArray[np.float64]) -> float:
        """Heat for five minutes; the reward is minus the difference from the wanted temperature."""
        heat = self.power * (action[0] + 1.0) / 2.0
        self.change = heat - self.loss * (self.inside - self.outside)
        self.inside += self.change
        self.outside += 0.2 * self.np_random.normal()
        return -abs(self.inside - self.wanted)

    def observed(self) -> list[float]:
        """Return the temperatures and the last change."""
        return [self.inside, self.outside, self.change]


class Lift(ContinuousEnv):
    """A load of unknown mass is lifted to an unknown height by a vertical thrust, against gravity."""

    def __init__(self, mass: float, target: float) -> None:
        super().__init__(2, 1)
        self.mass, self.target = mass, target

    def begin(self) -> None:
        """Put the load on the floor or a little above it."""
        self.height, self.speed = self.np_random.uniform(0.0, 1.0), 0.0

    def play(self, action: NDArray[np.float64]) -> float:
        """Push for 0.1 s; the reward falls with the distance from the target and with the speed."""
        thrust = 15.0 * (action[0] + 1.0)
        self.speed += 0.1 * (thrust / self.mass - 9.8 - 0.3 * self.speed)
        self.height += 0.1 * self.speed
        if self.height < 0.0 or self.height > 4.0:
            self.height, self.speed = float(np.clip(self.height, 0.0, 4.0)), 0.0
        return -abs(self.height - self.target) - 0.05 * abs(self.speed)

    def observed(self) -> list[float]:
        """Return height (m) and speed (m/s)."""
        return [self.height, self.speed]


class Steering(ContinuousEnv):
    """A vehicle in the plane goes to a goal it sees; its steering is turned by an unknown angle."""

    def __init__(self, angle: float) -> None:
        super().__init__(4, 2)
        self.turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def begin(self) -> None:
        """Draw start and goal."""
        self.position, self.goal = self.np_random.uniform(-1.0, 1.0, (2, 2))

    def play(self, action: NDArray[np.float64]) -> float:
        """Move by up to 0.1 in each direction; the reward is minus the distance from the goal."""
        self.position = np.clip(self.position + 0.1 * self.turn @ action, -2.0, 2.0)
        return -float(np.linalg.norm(self.position - self.goal))

    def observed(self) -> list[float]:
        """Return position and goal."""
        return [*self.position, *self.goal]


class TwoLinkArm(ContinuousEnv):
    """The tip of an arm of two links of unknown lengths goes to an unknown point; joint speeds are the actions."""

    def __init__(self, upper: float, lower: float, x: float, y: float) -> None:
        super().__init__(4, 2)
        self.links, self.target = np.array([upper, lower]), np.array([x, y])

    def begin(self) -> None:
        """Draw the joints' angles."""
        self.angles = self.np_random.uniform(-np.pi, np.pi, 2)

    def play(self, action: NDArray[np.float64]) -> float:
        """Turn the joints by up to 0.3 rad; the reward is minus the tip's distance from the target."""
        self.angles += 0.3 * action
        directions = np.cumsum(self.angles)
        tip = self.links @ np.stack([np.cos(directions), np.sin(directions)], 1)
        return -float(np.linalg.norm(tip - self.target))

    def observed(self) -> list[float]:
        """Return the angles' cosines and sines."""
        return [*np.cos(self.angles), *np.sin(self.angles)]
