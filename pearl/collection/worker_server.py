"""Imported by the server that worker processes are forked from, before it forks.

The server is started with SIGINT and SIGTERM held back, which its children inherit. `worker_process.work` lets them
through once it ignores them; a process of anybody else, which the same server forks, gets them as it would expect.
"""

import multiprocessing
import signal
from multiprocessing.util import register_after_fork

from pearl.collection.worker_process import NAME_PREFIX, STOP_SIGNALS


def _let_signals_through(_: object) -> None:
    if not multiprocessing.current_process().name.startswith(NAME_PREFIX):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


register_after_fork(_let_signals_through, _let_signals_through)
