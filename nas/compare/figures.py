"""The test figures of a comparison, by the part that each network has in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.compare.bootstrap import Group
from nas.compare.comparison import ContenderResult
from nas.runs.records.role import Role

DRAWN = {Role.RANDOM: "random networks", Role.EVEN_RANDOM: "random networks with even mixers and feed-forward networks"}
"""The random baselines, in words."""


@dataclass(frozen=True)
class Figures:
    """Test figures of networks with a part in the comparison; a search's winner that another search found, too, comes once for each.

    Args:
        subject: what is compared with the others.
        winners: of all searches of the whole space, the subject first.
        homogeneous: the best network of each mixer alone.
        rows: all networks, each once.
        crippled: fingerprints of those whose mixers hardly see a map at this image size.
        fixed: by kind of choice, the best network with that kind fixed.
    """

    subject: ContenderResult
    winners: Sequence[ContenderResult]
    homogeneous: Sequence[ContenderResult]
    rows: Sequence[ContenderResult]
    crippled: frozenset[str]
    fixed: Mapping[str, ContenderResult] = field(default_factory=dict)

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


def group(rows: Sequence[ContenderResult]) -> Group:
    """Figures of networks that are alike, (networks, seeds)."""
    return np.array([row.by_seed for row in rows], dtype=np.float64)
