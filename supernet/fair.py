"""Strictly fair paths: a step trains every mixer of every block once (https://arxiv.org/abs/1907.01845).

A step's paths share their widths and depths. Along them, each block walks through a permutation of its mixers, so after a
step all of them have been trained equally often, on the same slices. Options of a mixer, such as `sr_ratio`, take turns within
it, and positions and feed-forward networks take turns like mixers do.

Where stages offer different numbers of mixers, a step has as many paths as the stage that offers most. The others go on with
their permutations in the next step, so counts within a block differ by one at most; steps share widths and depths until all
permutations end together, and then counts are equal.

In a band the same holds for mixers wherever a step's paths can be moved inside at all: first by trading choices between
paths, which changes no count, then by other feed-forward networks and positions, then by other options of the same mixers,
then with other widths and depths. Only if all that fails, single paths get other mixers: where a band forbids a fair step,
what is trained stays inside and counts may differ by more. They are kept (`PathTraining.updates`).
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
from supernet.scope import Excess, Scope

MAX_SHAPES = 4
"""Widths and depths to try inside a band."""
MAX_ROUNDS = 200
"""Rounds of moves of one kind; mostly a few are enough."""
PATIENCE = 3
"""Rounds in a row that made nothing better."""
MOVES_A_ROUND = 24
"""Random moves of which a round makes the best."""

T = TypeVar("T")
Answers = dict[str, Option]
Operators = dict[str, tuple[Option, ...]]
"""The options of a slot by operator: `{"ssa": ("ssa(sr_ratio=2)", "ssa(sr_ratio=4)"), ...}`."""
Move = dict[int, Answers]
"""New answers of some paths."""


def fair(scope: Scope, seed: int) -> Callable[[int], Sequence[Architecture]]:
    """The paths of each step, as many as the stage with most mixers offers."""
    operators = _operators(scope.space)
    counts = _counts(operators)
    num_paths = max(counts)
    num_steps = math.lcm(*counts) // num_paths

    def choices(era: int) -> list[Answers]:
        """What the paths of all steps of an era answer to every slot but widths and depths."""
        total = num_steps * num_paths
        return [_choices(operators, seed, path) for path in range(era * total, (era + 1) * total)]

    @lru_cache(maxsize=1)
    def paths_of(era: int) -> list[Architecture]:
        for attempt in range(MAX_SHAPES):
            rng = random.Random(f"{seed} era {era} {attempt}")
            shape = _shape(scope.sample(rng))
            answers = [{**path, **shape} for path in choices(era)]
            if scope.excess is None:
                return [scope.space.replay(path) for path in answers]
            moving = _Moving(scope, scope.excess, operators, answers, rng)
            if moving.settle(*KINDS[:-1]):
                break
        else:
            moving.settle(*KINDS)
        return moving.architectures()

    def paths(step: int) -> Sequence[Architecture]:
        era, place = divmod(step, num_steps)
        return paths_of(era)[place * num_paths : (place + 1) * num_paths]

    return paths


def num_fair_paths(space: SearchSpace) -> int:
    """How many architectures a step trains."""
    return max(_counts(_operators(space)))


def _counts(operators: dict[str, Operators]) -> list[int]:
    """How many mixers every block has to choose from."""
    return [len(found) for slot, found in operators.items() if slot.endswith(".mixer")]


def _operators(space: SearchSpace) -> dict[str, Operators]:
    """The slots whose operators take turns."""
    found: dict[str, Operators] = {}
    for i, (stage, mixers) in enumerate(zip(space.stages, space.mixers, strict=True), start=1):
        specs = {f"stage{i}.ffn": stage.ffns}
        for j in range(1, stage.depths[-1] + 1):
            specs |= {f"stage{i}.block{j}.position": stage.positions, f"stage{i}.block{j}.mixer": mixers}
        for slot, offered in specs.items():
            types = dict.fromkeys(spec.type for spec in offered)
            found[slot] = {name: tuple(spec.label for spec in offered if spec.type == name) for name in types}
    return found


def _choices(operators: dict[str, Operators], seed: int, path: int) -> Answers:
    """What the path of a number, counted over all steps, answers to every slot but widths and depths."""
    answers: Answers = {}
    for slot, offered in operators.items():
        turn, place = divmod(path, len(offered))
        name = _shuffled(tuple(offered), seed, slot, turn)[place]
        # Every turn comes to every operator once, so turns count its occurrences.
        cycle, place = divmod(turn, len(offered[name]))
        answers[slot] = _shuffled(offered[name], seed, slot, name, cycle)[place]
    return answers


def _shuffled(options: tuple[T, ...], *key: Option) -> list[T]:
    return random.Random(repr(key)).sample(options, len(options))


def _shape(architecture: Architecture) -> Answers:
    shape: Answers = {}
    for i, stage in enumerate(architecture.stages, start=1):
        shape |= {f"stage{i}.width": stage.width, f"stage{i}.depth": len(stage.blocks)}
    return shape


@dataclass(frozen=True)
class Kind:
    """A kind of moves, on slots whose names end like this.

    Args:
        trades: two paths trade their answers, which changes no count; otherwise one path gets another answer.
        keeps_operator: another answer names the same operator.
    """

    slots: tuple[str, ...]
    trades: bool = False
    keeps_operator: bool = False


TRADE = Kind(("mixer", "position", "ffn"), trades=True)
REFIT = Kind(("position", "ffn"))
RETUNE = Kind(("mixer",), keeps_operator=True)
REPLACE = Kind(("mixer",))
KINDS = (TRADE, REFIT, RETUNE, REPLACE)


class _Moving:
    """Paths of one shape on their way into a band."""

    def __init__(self, scope: Scope, excess: Excess, operators: dict[str, Operators], paths: list[Answers], rng: random.Random) -> None:
        self._scope = scope
        self._excess = excess
        self._operators = operators
        self._paths = paths
        self._rng = rng
        self._over = list(excess(paths))
        conditions = scope.space.conditions
        slots = [slot for slot in operators if slot not in conditions or paths[0][conditions[slot][0]] in conditions[slot][1]]
        self._slots = {kind: [slot for slot in slots if slot.endswith(kind.slots)] for kind in KINDS}

    def settle(self, *kinds: Kind) -> bool:
        """Move until all paths are inside, by the first kind of moves, then by the first two, and so on; whether it worked."""
        for number in range(1, len(kinds) + 1):
            in_vain = 0
            for _ in range(MAX_ROUNDS):
                if max(self._over) <= 0:
                    return True
                in_vain = 0 if self._improve(kinds[:number]) else in_vain + 1
                if in_vain == PATIENCE:
                    break
        return max(self._over) <= 0

    def architectures(self) -> list[Architecture]:
        """The paths; one that never came inside leaves its place to a draw."""
        paths = zip(self._paths, self._over, strict=True)
        return [self._scope.space.replay(path) if over <= 0 else self._scope.sample(self._rng) for path, over in paths]

    def _improve(self, kinds: Sequence[Kind]) -> bool:
        """Make the best of some moves of the path that is farthest outside, if any makes things better; whether one did."""
        worst = self._over.index(max(self._over))
        moves = [self._move(self._rng.choice(kinds), worst) for _ in range(MOVES_A_ROUND)]
        excesses = iter(self._excess([answers for move in moves for answers in move.values()]))
        best: Move = {}
        best_over: dict[int, float] = {}
        most = 0.0
        for move in moves:
            over = {path: next(excesses) for path in move}
            gain = sum(max(self._over[path], 0.0) - max(over[path], 0.0) for path in move)
            if gain > most:
                best, best_over, most = move, over, gain
        for path, answers in best.items():
            self._paths[path], self._over[path] = answers, best_over[path]
        return bool(best)

    def _move(self, kind: Kind, path: int) -> Move:
        """A random move of a path."""
        slot = self._rng.choice(self._slots[kind])
        own = self._paths[path]
        if kind.trades:
            other = self._rng.randrange(len(self._paths))
            others = self._paths[other]
            return {other: {**others, slot: own[slot]}, path: {**own, slot: others[slot]}}
        operators = [same for same in self._operators[slot].values() if not kind.keeps_operator or own[slot] in same]
        return {path: {**own, slot: self._rng.choice(self._rng.choice(operators))}}
