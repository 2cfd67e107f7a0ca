"""What the figures of a comparison say: relative improvement, whether mixing pays, what each choice earns, over whom the winner leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nas.compare.bootstrap import Estimate, Group, estimated, lead, relative_improvement
from nas.compare.comparison import ContenderResult
from nas.runs.records.role import Role
from space.architecture import Architecture


@dataclass(frozen=True)
class FixedKind:
    """The best network with one kind of choice fixed.

    Args:
        at: which option, or which by stage.
    """

    kind: str
    at: str
    result: ContenderResult


@dataclass(frozen=True)
class Figures:
    """Test figures of networks with a part in the comparison; a search's winner that another search found, too, comes once for each.

    Args:
        subject: what is compared with the others.
        winners: of all searches of the whole space, the subject first.
        homogeneous: the best network of each mixer alone.
        rows: all networks, each once.
        crippled: fingerprints of those whose mixers hardly see a map at this image size.
    """

    subject: ContenderResult
    winners: Sequence[ContenderResult]
    homogeneous: Sequence[ContenderResult]
    rows: Sequence[ContenderResult]
    crippled: frozenset[str]
    fixed: Sequence[FixedKind] = ()

    def of_role(self, role: Role) -> list[ContenderResult]:
        """The networks with a role, best first."""
        return [row for row in self.rows if row.contender.role is role]

    @property
    def is_searched(self) -> bool:
        """Whether the subject is a search's winner."""
        return self.subject.contender.role is Role.WINNER

    @property
    def winners_in_words(self) -> str:
        """Whose mean figure is meant."""
        count = len(self.winners)
        return f"the mean of the winners of {count} searches" if count > 1 else "the winner" if self.is_searched else self.label

    @property
    def label(self) -> str:
        """Of the subject."""
        return self.subject.contender.label


def conclusions_of(figures: Figures) -> tuple[str, ...]:
    """All conclusions, a sentence each."""
    return (*_improvements(figures), *_mixing(figures), *_leads(figures), *_spread(figures))


def is_crippled(architecture: Architecture, image_size: int) -> bool:
    """Whether half of an architecture's mixers or more see one pixel, so that they have nothing to mix: the images are too small for it."""
    mixers = [part for part in architecture.parts_at(image_size, image_size) if part.path.endswith(".mixer")]
    lone = sum(1 for part in mixers if max(part.in_size) <= 1)
    return 2 * lone >= len(mixers) > 0


def _improvements(figures: Figures) -> Iterator[str]:
    for role, words in ((Role.RANDOM, "random networks"), (Role.EVEN_RANDOM, "random networks with even mixers and feed-forward networks")):
        drawn = figures.of_role(role)
        if not drawn:
            continue
        groups = _group(figures.winners), _group(drawn)
        found = estimated(relative_improvement, groups)
        average = f"the average of {len(drawn)} {words}, {100 * groups[1].mean():.1f} %"
        yield f"Relative improvement of {figures.winners_in_words} over {average}: {_percent(found)}."


def _mixing(figures: Figures) -> Iterator[str]:
    mixers = {block.mixer.type for stage in figures.subject.contender.architecture.stages for block in stage.blocks}
    if len(mixers) == 1 and figures.is_searched:
        yield f"The winner itself holds one mixer, {mixers.pop()}: the search has found nothing that mixing improves."
    if not figures.homogeneous:
        return
    best = max(figures.homogeneous, key=lambda row: row.mean)
    found = estimated(lead, (_group(figures.winners), _group([best])))
    against = f"{best.contender.label}, the best network of one mixer"
    points, winners = found.in_points, figures.winners_in_words
    if found.interval is None:
        yield f"Whether mixing pays is unknown, since one seed shows no spread: {winners} against {against}: {points} points."
    elif found.sign > 0:
        yield f"Mixing pays here: {winners} leads {against} ({points} points)."
    elif found.sign < 0:
        yield f"Mixing does not pay here: {winners} is behind {against} ({points} points)."
    else:
        yield f"Mixing shows no gain here: {winners} and {against}, cannot be told apart ({points} points)."


def _leads(figures: Figures) -> Iterator[str]:
    """Which published networks the subject leads, not counting those that the image size cripples."""
    parents = figures.of_role(Role.PARENT)
    others = [row for row in parents if row is not figures.subject]
    whole = [row for row in others if row.contender.architecture.fingerprint not in figures.crippled]
    by_sign: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for row in whole:
        by_sign[row.lead_of(figures.subject).sign].append(row.contender.label)
    who = "The winner" if figures.is_searched else figures.label
    if by_sign[1]:
        yield f"{who} leads {', '.join(by_sign[1])}."
    if by_sign[0]:
        yield f"{who} cannot be told apart from {', '.join(by_sign[0])}."
    if by_sign[-1]:
        yield f"{who} is behind {', '.join(by_sign[-1])}."
    if crippled := [row.contender.label for row in others if row not in whole]:
        yield f"Not counted: {', '.join(crippled)}, since at this image size half of their mixers or more see one pixel."


def _spread(figures: Figures) -> Iterator[str]:
    if len(figures.winners) == 1 and figures.is_searched and len(figures.subject.by_seed) > 1:
        yield "These intervals are over trainings of one search's winner. Another search may find another one: --search-seeds tells."


def _group(rows: Sequence[ContenderResult]) -> Group:
    return np.array([row.by_seed for row in rows], dtype=np.float64)


def _percent(found: Estimate) -> str:
    return f"{found.in_points} %"
