"""A worker process: it steps the environments of a few tasks for the parent process."""

import os
import pickle
import signal
import traceback
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any

from pearl.process.output import protect_output
from pearl.tasks.distribution import Task, TaskDistribution
from pearl.tasks.infos import EACH, EnvError
from pearl.tasks.vector_env import TaskVectorEnv

_MOVE = (
    "A worker cannot import a class that only a notebook, a console or the guarded part of a script defines: move it "
    "into a module (a .py file in the same folder) and import it from there. "
)

NAME_PREFIX = "pearl-worker-"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that Ctrl-C and batch systems send to all processes of a group; only the parent reacts to them"""


class Failed(Exception):
    """A worker's failure. Arguments: index of the failed environment or None; the traceback; advice."""


def _failed(error: BaseException) -> Failed:
    row = error.row if isinstance(error, EnvError) else None
    text = "".join(traceback.format_exception(error))
    # Pickle's message for a class defined in a notebook, or in a script under if __name__ == "__main__".
    unknown = isinstance(error, AttributeError) and "get attribute" in str(error) and "_main__" in str(error)
    return Failed(row, text, _MOVE if unknown else "")


def _send(connection: Connection, result: Any, infos: list[dict[str, Any]]) -> None:
    try:
        connection.send((result, infos))
    except OSError:  # The connection is closed.
        raise
    except Exception:  # Nothing was sent yet. An info that cannot be pickled must not end collection: drop it.
        connection.send((result, [{name: info[name] for name in info if _is_picklable(info[name])} for info in infos]))


def _is_picklable(value: Any) -> bool:
    try:
        ForkingPickler.dumps(value)
    except Exception:
        return False
    return True


def _leave_stopping_to_the_parent() -> None:
    """Ignore the stop signals, which were blocked until now."""
    own = os.getpid()

    def ignored(number: int, _: FrameType | None) -> None:
        if os.getpid() != own:  # In a process that an environment has forked: it may be ended by this signal.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not SIG_IGN: programs that an environment starts would inherit it, and SIGTERM could not end them.
    signal.signal(signal.SIGTERM, ignored)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def work(connection: Connection) -> None:
    """Build environments, then step and reset them on requests over ``connection`` until it closes."""
    _leave_stopping_to_the_parent()
    protect_output()
    # The parent has closed its end, or has died.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), ExitStack() as stack:
        _, part = connection.recv()
        try:
            distribution: TaskDistribution = pickle.loads(part[0])
            tasks: dict[int, Task] = part[1]
            envs = TaskVectorEnv(
                distribution.make_env,
                tasks.values(),
                first_row=min(tasks),
                copy=False,
                # An environment may also call sys.exit, which is reported like an exception.
                caught=BaseException,
            )
            # Closes after a failure was sent: a broken environment may hang when it is closed.
            stack.callback(envs.close)
            result: Any = (envs.single_observation_space, envs.single_action_space, envs.metadata, envs.render_mode)
            infos: list[dict[str, Any]] = []
            while True:
                _send(connection, result, infos)
                method, part = connection.recv()
                answer = envs.step(*part) if method == "step" else envs.reset(seed=part[0], options=part[1])
                result, infos = answer[:-1], answer[-1][EACH]
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except BaseException as error:
            connection.send(_failed(error))
