"""What runs in a worker process: a few tasks' environments, stepped as the parent process says."""

import os
import pickle
import signal
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pearl.output import protect_output
from pearl.tasks.distribution import Task, TaskDistribution

NAME_PREFIX = "pearl-worker-"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that Ctrl-C and batch systems send to all processes of a group; what they mean is for the parent to say"""


class Failed(Exception):
    """Arguments: the row of the environment that raised, None where it was none of them; the traceback."""


@contextmanager
def _of_task(row: int) -> Iterator[None]:
    try:
        yield
    # An environment may also exit; in the parent's process that, too, would be an exception.
    except BaseException as error:
        raise Failed(row, traceback.format_exc()) from error


class _Reporting(gym.Wrapper[Any, Any, Any, Any]):
    """Says whose an exception is, and keeps infos apart: merged by worker, numbers could take another dtype."""

    def __init__(self, env: gym.Env[Any, Any], row: int) -> None:
        super().__init__(env)
        self.row = row
        self.info: dict[str, Any] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with _of_task(self.row):
            observation, self.info = self.env.reset(seed=seed, options=options)
        return observation, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with _of_task(self.row):
            observation, reward, terminated, truncated, self.info = self.env.step(action)
        return observation, reward, terminated, truncated, {}


def _together(pickled: bytes, tasks: dict[int, Task]) -> SyncVectorEnv[Any, Any]:
    distribution: TaskDistribution = pickle.loads(pickled)

    def make(row: int) -> _Reporting:
        with _of_task(row):
            return _Reporting(distribution.make_env(tasks[row]), row)

    return SyncVectorEnv([partial(make, row) for row in tasks], copy=False, autoreset_mode=AutoresetMode.DISABLED)


def _leave_stopping_to_the_parent() -> None:
    """Ignore what asks to stop, which has been held back until now."""
    own = os.getpid()

    def ignored(number: int, _: FrameType | None) -> None:
        if os.getpid() != own:  # a process that an environment has forked, which it may end by this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not SIG_IGN, which programs that an environment starts would inherit: they could not be ended by it.
    signal.signal(signal.SIGTERM, ignored)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def work(connection: Connection) -> None:
    """Build environments, then step and reset them as the other end of ``connection`` says, until it closes."""
    _leave_stopping_to_the_parent()
    protect_output()
    # The parent has closed its end, or is gone.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), ExitStack() as stack:
        _, part = connection.recv()
        try:
            envs = _together(*part)
            # After a failure was sent: a broken environment may hang when it is closed.
            stack.callback(envs.close)
            result: Any = (envs.single_observation_space, envs.single_action_space, envs.metadata, envs.render_mode)
            while True:
                connection.send((result, [env.__dict__.pop("info", None) for env in envs.envs]))
                method, part = connection.recv()
                result = envs.step(*part) if method == "step" else envs.reset(seed=part[0], options=part[1])
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Failed as error:
            connection.send(error)
        except BaseException:
            connection.send(Failed(None, traceback.format_exc()))
