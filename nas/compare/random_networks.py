"""Two random baselines of a search: members of its band as the band draws them, and members with even mixers and feed-forward networks.

In a tight band the first are nearly all of the cheapest operators; see `proxies.band.even_operators`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from nas.compare.comparison import Contender
from nas.runs.directory import RunError
from nas.runs.records.role import Role
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.even_operators import try_evenly
from space.architecture import Architecture

MAX_DRAWS = 1000


def drawn_from_band(band: ArchitectureBand, count: int, seed: int, known: Collection[str] = ()) -> list[Contender]:
    """So many members as `ArchitectureBand.draw` draws them; RunError where the band has fewer.

    Args:
        known: fingerprints of others that take part.
    """
    rng = random.Random(f"{seed} comparison")
    draws = (band.draw(rng) for _ in range(MAX_DRAWS))
    return _first(draws, "random", Role.RANDOM, count, known, band)


def drawn_evenly(band: ArchitectureBand, count: int, seed: int, known: Collection[str] = ()) -> list[Contender]:
    """So many members whose operators are even: drawn slot by slot, each as likely as the others, and drawn anew where no member
    has them together. The band draws the rest. RunError where it has fewer members.

    Args:
        known: fingerprints of others that take part.
    """
    rng = random.Random(f"{seed} even comparison")
    rows = (try_evenly(band, rng) for _ in range(MAX_DRAWS))
    return _first((band.architecture(row) for row in rows if row is not None), "even random", Role.EVEN_RANDOM, count, known, band)


def _first(
    draws: Iterator[Architecture], label: str, role: Role, count: int, known: Collection[str], band: ArchitectureBand
) -> list[Contender]:
    found: dict[str, Contender] = {}
    while len(found) < count:
        drawn = next(draws, None)
        if drawn is None:
            option = f"--{label.replace(' ', '-')}"
            raise RunError(f"{option}: got {count}, expected no more than there are architectures inside {band.budget}")
        if drawn.fingerprint not in known:
            found.setdefault(drawn.fingerprint, Contender(f"{label} {len(found) + 1}", drawn, role))
    return list(found.values())
