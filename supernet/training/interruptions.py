"""Ctrl-C that takes effect after a training step or a drawing on the screen, never in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptions() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event: an interrupted step would have updated only some of the weights.

    Outside the main thread, the only one that receives Ctrl-C, the event is never set.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def unbroken() -> Iterator[None]:
    """Run a block to its end; a Ctrl-C meanwhile takes effect just after it."""
    with interruptions() as interrupted:
        yield
    if interrupted.is_set():
        signal.raise_signal(signal.SIGINT)
