"""The interface of all evaluators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from space.architecture import Architecture
from supernet.accuracy import Score


class Evaluator(Protocol):
    """Scores architectures."""

    def __call__(self, architecture: Architecture) -> Score: ...


MakeEvaluator = Callable[[], Evaluator]
"""Makes a worker's evaluator; it may load weights and images."""
