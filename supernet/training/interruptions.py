"""Ctrl-C where a half is worse than nothing: heard at the end of a training step or of a drawing, not within it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptions() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event: a step that stops half-way has updated half of the weights.

    In another thread than the main one, which alone hears Ctrl-C, the event is never set.
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
    """Let what runs within come to its end; a Ctrl-C meanwhile is heard just after."""
    with interruptions() as interrupted:
        yield
    if interrupted.is_set():
        signal.raise_signal(signal.SIGINT)
