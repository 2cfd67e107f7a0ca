"""The interface of all evaluators, and a caller's function as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from space.architecture import Architecture
from supernet.score import Score


class Evaluator(Protocol):
    """Scores architectures."""

    def __call__(self, architecture: Architecture) -> Score: ...


MakeEvaluator = Callable[[], Evaluator]
"""Makes a worker's evaluator; it may load weights and images."""


@dataclass(frozen=True)
class CallerEvaluator:
    """Scores with a caller's function.

    Args:
        function: from an architecture to a `Score`, or to a number that is greater for the better.

    Raises:
        ValueError: the function returned something else.
    """

    function: Callable[[Architecture], Score | float]

    def __call__(self, architecture: Architecture) -> Score:
        found = self.function(architecture)
        if isinstance(found, Score):
            return found
        try:
            value = float(found)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"evaluator: got {found!r:.100} for {architecture.fingerprint}, expected a finite number or a Score")
        return Score.of_number(value)
