"""By how much the winners of searches lead: over each single mixer, random networks, each fixed kind of choice, published networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nas.compare.bootstrap import estimated, lead
from nas.compare.comparison import ContenderResult
from nas.compare.figures import DRAWN, Figures, group
from nas.runs.records.comparison import LeadRecord
from nas.runs.records.role import Role


def leads_of(figures: Figures) -> list[LeadRecord]:
    """Kind by kind, the smallest lead of a kind first; none where no search is compared.

    Published networks that the image size cripples are left out.
    """
    if not figures.is_searched:
        return []
    return [one for alike in _kinds(figures) for one in sorted(alike, key=lambda one: one.value)]


def _kinds(figures: Figures) -> Iterator[list[LeadRecord]]:
    def over(label: str, rows: Sequence[ContenderResult]) -> LeadRecord:
        led = group(rows)
        found = estimated(lead, (group(figures.winners), led))
        return LeadRecord(label, float(led.mean()), found.value, found.interval)

    def each(rows: Iterable[ContenderResult]) -> list[LeadRecord]:
        return [over(row.contender.label, [row]) for row in rows]

    yield each(figures.homogeneous)
    for role, words in DRAWN.items():
        if drawn := figures.of_role(role):
            yield [over(f"{len(drawn)} {words}" if len(drawn) > 1 else drawn[0].contender.label, drawn)]
    yield each(figures.fixed.values())
    parents = figures.of_role(Role.PARENT)
    yield each(row for row in parents if row.contender.architecture.fingerprint not in figures.crippled)
