"""A worker process: steps a few tasks' environments as the parent process says."""

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
    "A worker can import nothing that only a notebook, a console or the guarded part of a script defines: move the "
    "class into a module (a .py file beside it) and import it from there. "
)

NAME_PREFIX = "pearl-worker-"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that Ctrl-C and batch systems send to all processes of a group; what they mean is for the parent to say"""


class Failed(Exception):
    """Arguments: the row of the environment that failed, None where it was none of them; the traceback; advice."""


def _failed(error: BaseException) -> Failed:
    row = error.row if isinstance(error, EnvError) else None
    text = "".join(traceback.format_exception(error))
    # Pickle's words for a class that a notebook holds, or a script's code under if __name__ == "__main__".
    unknown = isinstance(error, AttributeError) and "get attribute" in str(error) and "_main__" in str(error)
    return Failed(row, text, _MOVE if unknown else "")


def _send(connection: Connection, result: Any, infos: list[dict[str, Any]]) -> None:
    try:
        connection.send((result, infos))
    except OSError:  # The other end is gone.
        raise
    except Exception:  # Nothing was sent yet. That nobody reads such an info must not end collection.
        connection.send((result, [{name: info[name] for name in info if _is_picklable(info[name])} for info in infos]))


def _is_picklable(value: Any) -> bool:
    try:
        ForkingPickler.dumps(value)
    except Exception:
        return False
    return True


def _leave_stopping_to_the_parent() -> None:
    """Ignore the signals that ask to stop, which were held back until now."""
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
            distribution: TaskDistribution = pickle.loads(part[0])
            tasks: dict[int, Task] = part[1]
            envs = TaskVectorEnv(
                distribution.make_env,
                tasks.values(),
                first_row=min(tasks),
                copy=False,
                # An environment may also exit; in the parent's process that, too, would be an exception.
                caught=BaseException,
            )
            # After a failure was sent: a broken environment may hang when it is closed.
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
