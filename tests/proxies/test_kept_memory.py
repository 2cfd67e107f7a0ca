"""Freed memory is kept inside, and goes back to the system afterwards."""

from __future__ import annotations

import ctypes
import resource
import sys

import pytest

from proxies.kept_memory import kept_memory

SIZE, TIMES = 64 << 20, 4
PAGES = SIZE // resource.getpagesize()

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs the allocator of glibc"
)


def faults() -> int:
    """Page faults of filling and freeing a large buffer some times, the first time not counted."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = 0
    for number in range(TIMES + 1):
        if number == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        buffer = library.malloc(SIZE)
        ctypes.memset(buffer, 1, SIZE)
        library.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_is_kept_until_the_outermost_ends() -> None:
    with kept_memory():
        assert faults() < PAGES
        with kept_memory():
            assert faults() < PAGES
        assert faults() < PAGES
    # Above the usual threshold, every buffer is a mapping of its own. With huge pages a fault fills more than one page.
    assert faults() > TIMES * PAGES / 512 / 2


def test_an_error_ends_it_as_well() -> None:
    with pytest.raises(RuntimeError), kept_memory():
        raise RuntimeError
    with kept_memory():
        assert faults() < PAGES
    assert faults() > TIMES * PAGES / 512 / 2
