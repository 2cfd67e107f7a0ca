"""Keeps the memory that networks work in.

The C library's allocator gives large buffers back to the system and asks for them again, which costs a page fault every 4 KiB: a
seventh of an evaluation, and more of one with large maps. Whether it does depends on what the process has freed before, so that the
same network is measured a third slower or not, by chance.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# The library's own thresholds rise up to these as memory is freed; once set, they no longer rise.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_nested, _lock = 0, threading.Lock()


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, the process keeps freed memory; after the outermost, it goes back to the system. Without glibc this changes nothing."""
    global _nested
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt"):
        yield
        return
    assert library is not None
    with _lock:
        if not _nested:
            _set(library, _KEPT)
        _nested += 1
    try:
        yield
    finally:
        with _lock:
            _nested -= 1
            if not _nested:
                _set(library, _USUAL)
                library.malloc_trim(0)


def _set(library: ctypes.CDLL, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
