"""The sample of architectures that an audit trains alone, to measure rankings by.

Half of the sample costs about the same number of multiply-adds, as the architectures among which a search has to choose. The other half
is spread from the lowest cost in the space to twice the budget.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from nas.audit.config import AuditConfig
from nas.evaluators.trainings import Training
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, BudgetError
from proxies.macs import cost_of
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import dump_architecture, load_architecture, load_provenance, write_atomically
from space.search_space import SearchSpace

Part = Literal["band", "wide"]
PARTS: tuple[Part, ...] = get_args(Part)

BAND_FLOOR = 0.95 / 1.05
"""The band reaches 5 % to either side of its middle, and up to the budget."""
REACH = 2
"""The wide half ends at so many times the budget."""
SLICES = 4
"""The wide half is drawn from so many bands in turn, whose limits are a geometric series."""
MAX_DRAWS = 1000
CURVE = (50, 100, 200, 400)
LONG = 5
"""A long training has so many times the steps."""
OTHER_SEED = 1000
"""Of trainings that are compared with the truth: equal initial weights would correlate them."""


@dataclass(frozen=True)
class Member:
    """One architecture of a sample."""

    architecture: Architecture
    part: Part
    macs: int
    params: int


class SampleTrainings(NamedTuple):
    """What is trained of a sample.

    Args:
        truth: the trainings that count, seed by seed.
        short: trainings so cheap that a search could afford them for every candidate; they are judged as predictors.
        long: trainings of some members for `LONG` times the steps, which show whether the truth holds.
    """

    truth: list[Training]
    short: list[Training]
    long: list[Training]

    @classmethod
    def of(cls, config: AuditConfig, members: Sequence[Member]) -> SampleTrainings:
        """Those that a config asks for."""
        curve = tuple(step for step in CURVE if step < config.steps)
        return cls(
            [Training(member.architecture, config.steps, seed, curve) for seed in range(config.seeds) for member in members],
            [Training(member.architecture, steps, OTHER_SEED) for steps in config.short for member in members],
            [Training(member.architecture, LONG * config.steps, OTHER_SEED, (config.steps,)) for member in _some(members, config.long)],
        )


def _some(members: Sequence[Member], share: float) -> Iterator[Member]:
    """A share of either half, evenly over it, so that costs stay spread."""
    for part in PARTS:
        half = [member for member in members if member.part == part]
        count = round(share * len(half))
        yield from (half[(2 * i + 1) * len(half) // (2 * count)] for i in range(count))


def sample_of(folder: Path, space: SearchSpace, budget: Budget, count: int, seed: int) -> list[Member]:
    """The sample in a folder; what is not there yet is drawn and written.

    Args and errors: those of `draw_sample`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:03}.yaml" for number in range(count)]
    if not all(file.exists() for file in files):
        for file, member in zip(files, draw_sample(space, budget, count, seed), strict=True):
            facts = {"space": space.name, "seed": seed, "fingerprint": member.architecture.fingerprint}
            facts |= {"part": member.part, "macs": member.macs, "params": member.params}
            write_atomically(file, dump_architecture(member.architecture.replace(name=file.stem), facts))
    return [_read(file) for file in files]


def _read(file: Path) -> Member:
    found, architecture = load_provenance(file).get("part"), load_architecture(file)
    part = next((part for part in PARTS if part == found), None)
    if part is None:
        raise SpaceError(f"{file}: provenance.part: got {found!r:.60}, expected {' or '.join(PARTS)}, as of an audit's sample")
    cost = cost_of(architecture)
    return Member(architecture, part, cost.macs, cost.params)


def draw_sample(space: SearchSpace, budget: Budget, count: int, seed: int) -> Iterator[Member]:
    """The members of a sample, from the two halves by turns; the first ones do not depend on their number.

    Args:
        count: of members.

    Raises:
        BudgetError: the budget limits no multiply-adds, or the space has too few architectures.
    """
    if "macs" not in budget.limits:
        raise BudgetError(f"budget: got {budget}, expected multiply-adds, since half of the sample has equal ones")
    band = ArchitectureBand(space, Budget({"macs": budget.limits["macs"]}, BAND_FLOOR))
    slices = list(_slices(space, band))
    rng, seen = random.Random(f"{seed} sample"), set()
    for number in range(count):
        part: Part = "wide" if number % 2 else "band"
        source = slices[number // 2 % len(slices)] if number % 2 else band
        for _ in range(MAX_DRAWS):
            architecture = source.draw(rng)
            if architecture.fingerprint not in seen:
                break
        else:
            raise BudgetError(f"sample: got {number} distinct architectures around {budget}, expected {count}; ask for fewer")
        seen.add(architecture.fingerprint)
        cost = cost_of(architecture)
        yield Member(architecture, part, cost.macs, cost.params)


def _slices(space: SearchSpace, band: ArchitectureBand) -> Iterator[ArchitectureBand]:
    smallest, largest = (costs["macs"] for costs in band.reachable)
    top = min(largest, REACH * band.budget.limits["macs"])
    ends = [round(smallest * (top / smallest) ** (i / SLICES)) for i in range(SLICES + 1)]
    for low, high in pairwise(ends):
        # A small space may have no member there.
        with suppress(BudgetError):
            yield ArchitectureBand(space, Budget({"macs": high}, low / high))
