"""Signal set-up of the server that worker processes are forked from; the server imports this module before it forks.

The server starts with SIGINT and SIGTERM blocked, and its children inherit this. `worker_process.work` unblocks them
once it ignores them. In any other process that the server forks, this module unblocks them.
"""

import multiprocessing
import signal
from multiprocessing.util import register_after_fork

from pearl.collection.worker_process import NAME_PREFIX, STOP_SIGNALS


def _let_signals_through(_: object) -> None:
    if not multiprocessing.current_process().name.startswith(NAME_PREFIX):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


register_after_fork(_let_signals_through, _let_signals_through)
