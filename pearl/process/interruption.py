"""Stopping a run: by Ctrl-C, or by SIGTERM, which batch systems send."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pearl.process.output import say_in_signal_handler


@contextmanager
def stop_on_signal(wish: Callable[[], str]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM in the block into a request to stop, and print it; a second one acts as usual.

    Args:
        wish: records the request, and returns the message to print.
    """
    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only.
        yield
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, usual[signal.Signals(number)])
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        say_in_signal_handler(f"{name}: {wish()} A second {name} ends the run at once.")

    for number in usual:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
