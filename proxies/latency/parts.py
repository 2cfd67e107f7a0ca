"""Which parts each choice of a space brings: what sums over parts, such as a latency, are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from proxies.terms import Option, Term
from space.architecture import Architecture, Part
from space.search_space import SearchSpace

Keys = tuple[str, ...]


def key_of(part: Part) -> str:
    """A part without its place, readable: `ssa(sr_ratio=4) of 64 at 56x56 behind layer_norm`."""
    words = [f"{part.spec.label} of {'x'.join(map(str, part.widths))} at {part.in_size[0]}x{part.in_size[1]}"]
    words += [f"behind {part.norm.label}"] if part.norm is not None else []
    words += ["scaled"] if part.layer_scale else []
    return " ".join(words)


@dataclass(frozen=True)
class Brought:
    """Keys of the parts that some slots' options bring together."""

    slots: tuple[str, ...]
    keys: Mapping[tuple[Option, ...], Keys]


class SpaceParts:
    """The parts of a space.

    Attributes:
        parts: every part that a member can have, by key.
        brought: by slots, the parts of their options; a member's parts are all that its options bring.
        walks: networks through all parts. A walk is a list of segments in order of execution; the parts inside a
            segment, a stage's, take and return maps of one shape, so that any order of them runs.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.parts: dict[str, Part] = {}
        self.brought: list[Brought] = []
        self.walks: list[list[Keys]] = []
        blocks = [self._add_blocks(stage) for stage in range(len(space.stages))]
        self._add_surroundings(blocks)

    def terms(self, quantity: str, constant: int, amount: Callable[[str], int]) -> tuple[Term, ...]:
        """A constant, and the sum of an amount over a member's parts, by their keys, as terms over the space's slots."""
        terms = [Term((), {quantity: np.array(constant, dtype=np.int64)})]
        for brought in self.brought:
            options = [self.space.slots[slot] for slot in brought.slots]
            sums = [sum(map(amount, brought.keys[chosen])) for chosen in itertools.product(*options)]
            table = np.array(sums, dtype=np.int64).reshape([len(offered) for offered in options])
            terms.append(Term(brought.slots, {quantity: table}))
        return tuple(terms)

    def _add_blocks(self, stage: int) -> dict[int, Keys]:
        """Blocks of a stage; returns the keys of all their parts by width."""
        offered, name = self.space.stages[stage], f"stage{stage + 1}"
        width, ffn, position, mixer = slots = [f"{name}.width", f"{name}.ffn", f"{name}.block1.position", f"{name}.block1.mixer"]
        positions: dict[tuple[Option, ...], Keys] = {
            options: self._block(stage, dict(zip((width, position), options, strict=True)), is_position=True)
            for options in itertools.product(*(self.space.slots[slot] for slot in (width, position)))
        }
        branches: dict[tuple[Option, ...], Keys] = {
            options: self._block(stage, dict(zip((width, ffn, mixer), options, strict=True)), is_position=False)
            for options in itertools.product(*(self.space.slots[slot] for slot in (width, ffn, mixer)))
        }
        for j in range(1, offered.depths[-1] + 1):
            position, mixer = (slot.replace("block1", f"block{j}") for slot in slots[2:])
            self.brought += [Brought((width, position), positions), Brought((width, ffn, mixer), branches)]
        keys: dict[int, dict[str, None]] = {option: {} for option in offered.widths}
        for options, found in (*positions.items(), *branches.items()):
            keys[int(str(options[0]))].update(dict.fromkeys(found))
        return {option: tuple(found) for option, found in keys.items()}

    def _block(self, stage: int, answers: Mapping[str, Option], is_position: bool) -> Keys:
        prefix = f"stages.{stage}.blocks.0."
        inside = [part for part in self._member(answers).parts if part.path.startswith(prefix)]
        return tuple(self._key(part) for part in inside if (part.path == f"{prefix}position") == is_position)

    def _add_surroundings(self, blocks: list[dict[int, Keys]]) -> None:
        """What stands before, between and behind stages, for every pair of neighbouring widths."""
        names = [f"stage{i + 1}.width" for i in range(len(blocks))]
        between = [(f"stages.{i}.downsample", names[i - 1 : i + 1]) for i in range(1, len(blocks))]
        slots = [("stem", names[:1]), *between, ("head", names[-1:])]
        keys: list[dict[tuple[Option, ...], Keys]] = [{} for _ in slots]
        offered = [stage.widths for stage in self.space.stages]
        # Even stages take one width and odd stages another: all pairs of neighbours come by.
        picks = itertools.product(range(max(map(len, offered))), repeat=2)
        for widths in dict.fromkeys(tuple(w[min(pick[i % 2], len(w) - 1)] for i, w in enumerate(offered)) for pick in picks):
            answers = dict(zip(names, widths, strict=True))
            parts = {part.path: self._key(part) for part in self._member(answers).parts if ".blocks." not in part.path}
            walk: list[Keys] = []
            for i, (path, neighbours) in enumerate(slots):
                keys[i][tuple(answers[name] for name in neighbours)] = (parts[path],)
                walk += [(parts[path],)] + ([blocks[i][widths[i]]] if i < len(blocks) else [])
            self.walks.append(walk)
        self.brought += [Brought(tuple(neighbours), found) for (_, neighbours), found in zip(slots, keys, strict=True)]

    def _member(self, answers: Mapping[str, Option]) -> Architecture:
        return self.space.decide(lambda name, options: answers.get(name, options[0]))  # type: ignore[arg-type,return-value]

    def _key(self, part: Part) -> str:
        key = key_of(part)
        self.parts.setdefault(key, part)
        return key
