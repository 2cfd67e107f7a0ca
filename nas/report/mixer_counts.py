"""How many architectures have which mixer, block by block: among the best and among all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.study.record import Result

BEST_SHARE = 0.1


@dataclass(frozen=True)
class MixerCounts:
    """How many architectures have which mixer in one block, `stage` and `block` counted from 1.

    Architectures whose stage has no such block are not counted.
    """

    stage: int
    block: int
    best: Mapping[str, int]
    all: Mapping[str, int]

    @property
    def mixers(self) -> list[str]:
        """Every mixer that some architecture has there, most frequent among the best first."""
        return sorted(self.all, key=lambda name: (-self.best.get(name, 0), -self.all[name], name))


def best_of(results: Sequence[Result]) -> Sequence[Result]:
    """The best tenth of results that come best first."""
    return results[: math.ceil(BEST_SHARE * len(results))]


def mixer_counts(best: Sequence[Result], results: Sequence[Result]) -> list[MixerCounts]:
    """The counts of every block, in order of execution."""
    of_best, of_all = _counts(best), _counts(results)
    return [MixerCounts(*place, of_best.get(place, {}), of_all[place]) for place in sorted(of_all)]


def _counts(results: Sequence[Result]) -> dict[tuple[int, int], Counter[str]]:
    counts: dict[tuple[int, int], Counter[str]] = {}
    for result in results:
        for i, stage in enumerate(result.architecture.stages, start=1):
            for j, block in enumerate(stage.blocks, start=1):
                counts.setdefault((i, j), Counter())[block.mixer.type] += 1
    return counts
