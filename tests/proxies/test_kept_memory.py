"""Freed memory is kept inside, and goes back to the system afterwards."""

from __future__ import annotations

import ctypes
import resource
import sys

import pytest

from proxies.kept_memory import kept_memory

SIZE = 64 << 20
MANY = SIZE // resource.getpagesize() // 1024
"""Fewer faults than it takes to have the buffer's memory from the system, even with huge pages, of which a fault fills 512 usual ones."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs the allocator of glibc"
)


def faults() -> int:
    """Page faults of filling and freeing a large buffer once."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffer = library.malloc(SIZE)
    ctypes.memset(buffer, 1, SIZE)
    library.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_is_kept_until_the_outermost_ends() -> None:
    with kept_memory():
        faults()
        assert faults() < MANY
        with kept_memory():
            assert faults() < MANY
        assert faults() < MANY
    assert faults() > MANY


def test_an_error_ends_it_as_well() -> None:
    with pytest.raises(RuntimeError), kept_memory():
        raise RuntimeError
    assert faults() > MANY
