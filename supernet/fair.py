"""Strictly fair paths: each step trains every mixer of every block once (https://arxiv.org/abs/1907.01845).

The paths of a step share their widths and depths, and stem and head where a space offers several. From path to path, each block goes
through a permutation of its mixers, so after a step all mixers were trained equally often, on the same slices. The options of a mixer,
such as `sr_ratio`, alternate within the mixer; positional encodings and feed-forward networks alternate like mixers.

Where stages offer different numbers of mixers, a step has as many paths as the largest number. The other stages continue their
permutations in the next step, so counts within a block differ by one at most. A cycle is the steps after which all permutations end
together and counts are equal; its paths share widths and depths.

In a band, paths outside it are repaired, by moves that disturb fairness as little as possible: first by swaps of choices between
paths, which change no count; then by other feed-forward networks and positional encodings; then by other options of the same mixers;
then with other widths and depths. Only if all that fails, single paths get other mixers: then a band forbids a fair step, and counts may
differ by more than one. `PathTraining.updates` reports them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from space.architecture import Architecture
from space.search_space import Option, SearchSpace
from supernet.sampling_domain import Excess, SamplingDomain

MAX_SHAPES = 4
"""Widths and depths to try inside a band."""
MAX_ROUNDS = 200
"""Rounds of one repair; a few are usually enough."""
PATIENCE = 3
"""Rounds in a row without improvement after which a repair gives up."""
MOVES_A_ROUND = 24
"""Random moves per round, the best of which is made."""

T = TypeVar("T")
PathChoices = dict[str, Option]
"""A path's chosen option of every slot."""
Operators = dict[str, tuple[Option, ...]]
"""The options of a slot by operator: `{"ssa": ("ssa(sr_ratio=2)", "ssa(sr_ratio=4)"), ...}`."""
Move = dict[int, PathChoices]
"""New choices of some paths, by their numbers."""


def fair(domain: SamplingDomain, seed: int) -> Callable[[int], Sequence[Architecture]]:
    """The paths of each step, as many as the stage with most mixers offers."""
    operators = _operators(domain.space)
    counts = _mixer_counts(operators)
    num_paths = max(counts)
    num_steps = math.lcm(*counts) // num_paths

    @lru_cache(maxsize=1)
    def paths_of(cycle: int) -> list[Architecture]:
        total = num_steps * num_paths
        of_slots = [_choices(operators, seed, path) for path in range(cycle * total, (cycle + 1) * total)]
        for attempt in range(MAX_SHAPES):
            rng = random.Random(f"{seed} cycle {cycle} {attempt}")
            shape = _shape(domain.space, domain.sample(rng))
            choices = [{**path, **shape} for path in of_slots]
            if domain.excess is None:
                return [domain.space.replay(path) for path in choices]
            repair = _Repair(domain, domain.excess, operators, choices, rng)
            if repair.run(*KINDS[:-1]):
                break
        else:
            repair.run(*KINDS)
        return repair.architectures()

    def paths(step: int) -> Sequence[Architecture]:
        cycle, step_of_cycle = divmod(step, num_steps)
        return paths_of(cycle)[step_of_cycle * num_paths : (step_of_cycle + 1) * num_paths]

    return paths


def num_fair_paths(space: SearchSpace) -> int:
    """How many architectures a step trains."""
    return max(_mixer_counts(_operators(space)))


def _mixer_counts(operators: dict[str, Operators]) -> list[int]:
    """How many mixers each block chooses from."""
    return [len(found) for slot, found in operators.items() if slot.endswith(".mixer")]


def _operators(space: SearchSpace) -> dict[str, Operators]:
    """The slots whose operators alternate."""
    found: dict[str, Operators] = {}
    for i, (stage, mixers) in enumerate(zip(space.stages, space.mixers, strict=True), start=1):
        specs = {f"stage{i}.ffn": stage.ffns}
        for j in range(1, stage.depths[-1] + 1):
            specs |= {f"stage{i}.block{j}.position": stage.positions, f"stage{i}.block{j}.mixer": mixers}
        for slot, offered in specs.items():
            types = dict.fromkeys(spec.type for spec in offered)
            found[slot] = {name: tuple(spec.label for spec in offered if spec.type == name) for name in types}
    return found


def _choices(operators: dict[str, Operators], seed: int, path: int) -> PathChoices:
    """The choices of a path, by its number over all steps, for every slot but widths and depths."""
    choices: PathChoices = {}
    for slot, offered in operators.items():
        permutation, index = divmod(path, len(offered))
        name = _shuffled(tuple(offered), seed, slot, permutation)[index]
        # Each permutation holds every operator once, so their number counts an operator's occurrences.
        inner, index = divmod(permutation, len(offered[name]))
        choices[slot] = _shuffled(offered[name], seed, slot, name, inner)[index]
    return choices


def _shuffled(options: tuple[T, ...], *key: Option) -> list[T]:
    return random.Random(repr(key)).sample(options, len(options))


def _shape(space: SearchSpace, architecture: Architecture) -> PathChoices:
    """The choices that the paths of a cycle share: stem, head, widths and depths."""
    choices = space.parameters_of(architecture)
    return {slot: choices[slot] for slot in space.shape_slots}


@dataclass(frozen=True)
class MoveKind:
    """A kind of moves, on the slots whose names end in one of some words.

    Args:
        swaps: two paths swap their choices, which changes no count; otherwise one path gets another choice.
        keeps_operator: the other choice is of the same operator.
    """

    slots: tuple[str, ...]
    swaps: bool = False
    keeps_operator: bool = False


KINDS = (
    MoveKind(("mixer", "position", "ffn"), swaps=True),
    MoveKind(("position", "ffn")),
    MoveKind(("mixer",), keeps_operator=True),
    MoveKind(("mixer",)),
)
"""From the one that disturbs fairness least to the one that disturbs it most."""


class _Repair:
    """Moves paths of one shape into a band."""

    def __init__(
        self, domain: SamplingDomain, excess: Excess, operators: dict[str, Operators], paths: list[PathChoices], rng: random.Random
    ) -> None:
        self._domain = domain
        self._excess = excess
        self._operators = operators
        self._paths = paths
        self._rng = rng
        self._excesses = list(excess(paths))
        conditions = domain.space.conditions
        slots = [slot for slot in operators if slot not in conditions or paths[0][conditions[slot][0]] in conditions[slot][1]]
        self._slots = {kind: [slot for slot in slots if slot.endswith(kind.slots)] for kind in KINDS}

    def run(self, *kinds: MoveKind) -> bool:
        """Make moves of the first kind, then of the first two, and so on, until all paths are in the band; whether they are."""
        for number in range(1, len(kinds) + 1):
            failures = 0
            for _ in range(MAX_ROUNDS):
                if max(self._excesses) <= 0:
                    return True
                failures = 0 if self._improve(kinds[:number]) else failures + 1
                if failures == PATIENCE:
                    break
        return max(self._excesses) <= 0

    def architectures(self) -> list[Architecture]:
        """The paths; a sampled architecture replaces one that stayed outside the band."""
        paths = zip(self._paths, self._excesses, strict=True)
        return [self._domain.space.replay(path) if excess <= 0 else self._domain.sample(self._rng) for path, excess in paths]

    def _improve(self, kinds: Sequence[MoveKind]) -> bool:
        """Make the best of some moves of the path with the greatest excess; whether one lowered the excesses."""
        worst = self._excesses.index(max(self._excesses))
        moves = [self._move(self._rng.choice(kinds), worst) for _ in range(MOVES_A_ROUND)]
        found = iter(self._excess([choices for move in moves for choices in move.values()]))
        excesses = [{path: next(found) for path in move} for move in moves]
        gains = [sum(max(self._excesses[path], 0.0) - max(value, 0.0) for path, value in after.items()) for after in excesses]
        best = gains.index(max(gains))
        if gains[best] <= 0:
            return False
        for path, choices in moves[best].items():
            self._paths[path], self._excesses[path] = choices, excesses[best][path]
        return True

    def _move(self, kind: MoveKind, path: int) -> Move:
        """A random move of a path."""
        slot = self._rng.choice(self._slots[kind])
        own = self._paths[path]
        if kind.swaps:
            other = self._rng.randrange(len(self._paths))
            others = self._paths[other]
            return {other: {**others, slot: own[slot]}, path: {**own, slot: others[slot]}}
        operators = [same for same in self._operators[slot].values() if not kind.keeps_operator or own[slot] in same]
        return {path: {**own, slot: self._rng.choice(self._rng.choice(operators))}}
