"""Which architectures a step of supernet training runs."""

from __future__ import annotations

import random
from collections.abc import Callable

from space.architecture import Architecture

Sample = Callable[[random.Random], Architecture]
Paths = Callable[[int], Architecture]
"""The architecture that a step trains, a function of the step alone, so that a resumed training repeats it."""


def single_path(sample: Sample, seed: int) -> Paths:
    """One architecture a step (https://arxiv.org/abs/1904.00420), drawn by `sample`, which may keep inside a budget."""
    return lambda step: sample(random.Random(f"{seed} path {step}"))
