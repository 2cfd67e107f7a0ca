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
