"""What a latency table's file holds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxies.latency.kit_graphs import KitGraphs
from proxies.latency.reference_clock import Nanoseconds, ReferenceClock
from space.errors import UserError
from space.registry import Value

MIN_NETWORKS = 4
"""Networks that a fit needs."""
MAX_PARTS = 100_000
"""Equal ones in a network."""


class LatencyError(UserError, ValueError):
    """A latency table that does not belong to this device or this space, or that too few networks could be measured for."""


class NetworkRecord(Value):
    """A whole network as it was measured.

    Args:
        parts: how many equal ones it has, by key.
        nanoseconds, spread: as of `proxies.latency.reference_clock.Measured`.
    """

    parts: dict[str, Annotated[int, Field(ge=1, le=MAX_PARTS)]]
    nanoseconds: Nanoseconds
    spread: Annotated[float, Field(ge=0)]


class Fitted(Value):
    """What was fitted to measurements: the coefficients of `proxies.latency.fit`, and the margin.

    The last digits of a fit depend on the machine that computes it. Hosts that must predict the same numbers share these.
    """

    constant: Annotated[float, Field(ge=0, le=1e15)]
    scale: Annotated[float, Field(ge=0, le=1e6)]
    step: Annotated[float, Field(ge=0, le=1e15)]
    margin: Annotated[float, Field(gt=0, le=1e6)]


class Record(Value):
    """What was measured, as a file holds it.

    Args:
        fingerprint: of the device, the libraries, the target and the space, see `fingerprint_of`.
        parts: nanoseconds by part.
        networks: whole networks that the sums are fitted to.
        failures: why other networks, drawn for the same purpose, could not run on the target.
        reference: what all latencies are scaled by.
        drift: by how much the machine's speed changed meanwhile, relative.
        fitted: what all hosts predict with; by default each host fits by itself.
        num_classes, in_chans, graphs: of the measured networks, in an imported table.
    """

    fingerprint: dict[str, str]
    reference: ReferenceClock
    drift: Annotated[float, Field(ge=0)]
    parts: dict[str, Nanoseconds]
    networks: Annotated[tuple[NetworkRecord, ...], Field(min_length=MIN_NETWORKS, strict=False)]
    failures: Annotated[tuple[str, ...], Field(strict=False)] = ()
    fitted: Fitted | None = None
    num_classes: Annotated[int, Field(ge=1)] | None = None
    in_chans: Annotated[int, Field(ge=1)] | None = None
    graphs: KitGraphs | None = None
