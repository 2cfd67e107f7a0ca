"""By how much the winners of searches lead: over each single mixer, random networks, each fixed kind of choice, published networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas.compare.bootstrap import Estimate, estimated, lead
from nas.compare.comparison import ContenderResult
from nas.compare.figures import DRAWN, Figures, group
from nas.runs.records.role import Role


@dataclass(frozen=True)
class Lead:
    """Over one network, or over the mean of several that are alike.

    Args:
        mean: test figure of what is led.
        lead: by how much the mean of the winners is greater, over seeds and networks.
    """

    label: str
    mean: float
    lead: Estimate


def leads_of(figures: Figures) -> list[Lead]:
    """Kind by kind, the smallest lead of a kind first; none where no search is compared.

    Published networks that the image size cripples are left out.
    """
    if not figures.is_searched:
        return []
    return [one for alike in _kinds(figures) for one in sorted(alike, key=lambda one: one.lead.value)]


def _kinds(figures: Figures) -> Iterator[list[Lead]]:
    def over(label: str, rows: Sequence[ContenderResult]) -> Lead:
        led = group(rows)
        return Lead(label, float(led.mean()), estimated(lead, (group(figures.winners), led)))

    def each(rows: Sequence[ContenderResult]) -> list[Lead]:
        return [over(row.contender.label, [row]) for row in rows]

    yield each(figures.homogeneous)
    for role, words in DRAWN.items():
        if drawn := figures.of_role(role):
            yield [over(f"{len(drawn)} {words}" if len(drawn) > 1 else drawn[0].contender.label, drawn)]
    yield each([one.result for one in figures.fixed])
    parents = figures.of_role(Role.PARENT)
    yield each([row for row in parents if row.contender.architecture.fingerprint not in figures.crippled])
