"""Random numbers by key: what is drawn depends on the key alone, never on what was drawn before."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: str | int) -> int:
    """A seed of 63 bits that depends on the whole key."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest()) >> 1


@contextmanager
def preserved_rng_state() -> Iterator[None]:
    """Restore the global random states of Python, numpy and torch afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def seeded(*key: str | int) -> Iterator[None]:
    """Run a block with all global generators seeded by a key, and restore their states afterwards."""
    with preserved_rng_state():
        reseed(*key)
        yield


def reseed(*key: str | int) -> None:
    """Seed the global generators of Python, numpy and torch by a key."""
    seed = seed_of(*key)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed would also queue a seed, with a stack trace each time, for every device that is not in use.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
