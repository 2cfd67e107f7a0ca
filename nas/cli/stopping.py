"""What makes a command stop: Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_SECONDS = 0.3
"""A command that ends within this time says only that it has stopped."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM, which schedulers and containers send, interrupt a command as Ctrl-C does. Background jobs ignore Ctrl-C itself.

    For the main thread of a process.
    """
    interrupted = False

    def interrupt(*_: object) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    heard = [signal.SIGTERM, *([signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else [])]
    previous = {number: signal.signal(number, interrupt) for number in heard}
    try:
        with _announced():
            yield
    except Exception:
        # Code in C may raise an error of its own instead: NumPy's raises ImportError where importing it was interrupted.
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# A child that is forked would write there as well.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


@contextmanager
def _announced() -> Iterator[None]:
    """Say at once that a signal was heard: the step in progress is finished first, and its results are kept."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Python writes a signal's number there as soon as it comes, also while other code runs in the main thread.
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    ended = threading.Event()

    def announce() -> None:
        while (number := os.read(reading, 1)) and number[0] not in SIGNALS:
            pass
        if number and not ended.wait(PATIENCE_SECONDS):
            # A live screen takes this stream over, and shows the line above itself.
            print("stopping, keeping what is finished", file=sys.stderr, flush=True)

    announcer = threading.Thread(target=announce, daemon=True)
    announcer.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(previous)
        os.close(writing)
        announcer.join()
        os.close(reading)
