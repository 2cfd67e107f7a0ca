"""What an architecture is in a search or a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from nas.runs.directory import RunError


class Role(StrEnum):
    """An architecture's part. No name and no label tells it."""

    WINNER = "winner"
    NEXT_BEST = "next best"
    FRONT = "front"
    """On the Pareto front of several objectives, and not the winner."""
    RANDOM = "random"
    """Drawn at random inside the budget."""
    EVEN_RANDOM = "even random"
    """Drawn at random inside the budget, with even mixers and feed-forward networks."""
    HOMOGENEOUS = "homogeneous"
    """The best that a search found with one mixer alone."""
    FIXED = "fixed"
    """The best that a search found with one kind of choice fixed."""
    PARENT = "parent"
    """A published network."""
    OTHER = "other"


def role_of(provenance: Mapping[str, Any]) -> Role:
    """The role that an architecture's file tells, `other` where it tells none; RunError where it is unknown."""
    role = provenance.get("role", Role.OTHER.value)
    try:
        return Role(role)
    except ValueError:
        raise RunError(f"provenance.role: got {role!r:.60}, expected one of {', '.join(Role)}") from None
