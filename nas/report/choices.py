"""Which mixer stands where: shares by stage and block, among the best and among all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.study.record import Result
from space.architecture import Architecture

BEST_SHARE = 0.1


@dataclass(frozen=True)
class Choice:
    """What stands in one block, `stage` and `block` counted from 1: how many architectures hold which mixer there.

    Architectures whose stage is too shallow for the block count nowhere.
    """

    stage: int
    block: int
    best: Mapping[str, int]
    all: Mapping[str, int]

    @property
    def mixers(self) -> list[str]:
        """Those that stand there in any, most frequent first."""
        return sorted(self.all, key=lambda name: (-self.best.get(name, 0), -self.all[name], name))


def best_of(results: Sequence[Result]) -> Sequence[Result]:
    """The best tenth of results that come best first."""
    return results[: math.ceil(BEST_SHARE * len(results))]


def choices_of(best: Sequence[Result], results: Sequence[Result]) -> list[Choice]:
    """What stands in every block, in order of execution."""
    of_best, of_all = (_counts([result.architecture for result in some]) for some in (best, results))
    return [Choice(*place, of_best.get(place, {}), of_all[place]) for place in sorted(of_all)]


def _counts(architectures: Sequence[Architecture]) -> dict[tuple[int, int], Counter[str]]:
    counts: dict[tuple[int, int], Counter[str]] = {}
    for architecture in architectures:
        for i, stage in enumerate(architecture.stages, start=1):
            for j, block in enumerate(stage.blocks, start=1):
                counts.setdefault((i, j), Counter())[block.mixer.type] += 1
    return counts
