"""Which single option a kind of choice is fixed at, to see what the choice earns."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from nas.study.record import Result
from space.narrowing import Narrowing
from space.search_space import Option, SearchSpace

MOST_TRIED = 1000
"""Combinations of options by stage."""


def fixed_kinds(space: SearchSpace, results: Sequence[Result]) -> dict[str, Iterator[tuple[Narrowing, ...]]]:
    """For each kind of choice (`mixer`, `ffn`, `width`...), the restrictions of the space that leave it no choice, best first.

    An option is as good as the mean log-likelihood of the trials that hold it, a trial counted once for each slot that does. That costs no
    evaluation. It depends on what else the sampler chose in these trials, so another option may be the best one: a search with each would
    tell, at as many times the cost.

    A kind is fixed at one option for all stages where there is one that all offer, otherwise at one a stage, as widths are.

    Args:
        results: of the search.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for name in space.slots:
        kinds[name.rpartition(".")[2]].append(name)
    open_kinds = {kind: slots for kind, slots in kinds.items() if any(len(space.slots[name]) > 1 for name in slots)}
    return {kind: _rankings(kind, slots, space, results) for kind, slots in open_kinds.items()}


def _rankings(
    kind: str, slots: Sequence[str], space: SearchSpace, results: Sequence[Result]
) -> Iterator[tuple[Narrowing, ...]]:
    shared = set.intersection(*(set(space.slots[name]) for name in slots))
    groups: Mapping[int | None, list[str]] = {None: list(slots)}
    if not shared:
        stages: defaultdict[int | None, list[str]] = defaultdict(list)
        for name in slots:
            stages[int(name.partition(".")[0].removeprefix("stage"))].append(name)
        groups = stages
    ranked = [
        [Narrowing(kind, (str(option),), stage) for option in _best_first(names, results) if not shared or option in shared]
        for stage, names in groups.items()
    ]
    # Those whose ranks are best together.
    places = itertools.islice(itertools.product(*map(enumerate, ranked)), MOST_TRIED)
    combinations = sorted(places, key=lambda chosen: sum(rank for rank, _ in chosen))
    return (tuple(one for _, one in chosen) for chosen in combinations)


def _best_first(slots: Sequence[str], results: Sequence[Result]) -> list[Option]:
    scores: defaultdict[Option, list[float]] = defaultdict(list)
    for result in results:
        for name in slots:
            if name in result.parameters:
                scores[result.parameters[name]].append(result.score.log_likelihood)
    return sorted(scores, key=lambda option: mean(scores[option]), reverse=True)
