"""Two random baselines of a search: members of its band as the band draws them, and members with even mixers and feed-forward networks.

The band draws a shape evenly, then a member of that shape. In a tight band most shapes have room for cheap operators alone, so nearly all
such networks hold the cheapest ones. The second baseline turns this around: it draws the operators evenly, then a member that has them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from nas.compare.comparison import Contender
from nas.runs.directory import RunError
from nas.runs.records.role import Role
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.fixed_slots import draw_with
from space.architecture import Architecture
from space.search_space import Option

MAX_DRAWS = 1000
OPERATORS = (".mixer", ".ffn")
"""The slots that are drawn evenly."""


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
    draws = (_even_draw(band, rng) for _ in range(MAX_DRAWS))
    return _first((one for one in draws if one is not None), "even random", Role.EVEN_RANDOM, count, known, band)


def _even_draw(band: ArchitectureBand, rng: random.Random) -> Architecture | None:
    operators = {name: _evenly(options, rng) for name, options in band.space.slots.items() if name.endswith(OPERATORS)}
    return draw_with(band, operators, rng)


def _evenly(options: Sequence[Option], rng: random.Random) -> Option:
    """An operator evenly, then one of its options, so that one with many settings is no likelier."""
    by_operator: defaultdict[str, list[Option]] = defaultdict(list)
    for option in options:
        by_operator[str(option).partition("(")[0]].append(option)
    return rng.choice(by_operator[rng.choice(list(by_operator))])


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
