"""`latencies.json`: what a kit's script, or another runtime's benchmark, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from proxies.latency import LatencyError
from proxies.latency.kit_graphs import KitGraphs
from proxies.latency.reference_clock import Measured
from space.architecture import Architecture
from space.errors import invalid
from space.files import load_json
from space.names import Name
from space.registry import Value

SCHEMA = "latencies/1"
Milliseconds = Annotated[float, Field(gt=0, le=1e9)]


class Latency(Value):
    """A graph's latency.

    Args:
        median_ms: of the repeats, milliseconds a pass.
        q1_ms, q3_ms: their quartiles; by default the median.
        repeats: how many there were.
    """

    median_ms: Milliseconds
    q1_ms: Milliseconds | None = None
    q3_ms: Milliseconds | None = None
    repeats: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _check_order(self) -> Latency:
        low, high = self.q1_ms or self.median_ms, self.q3_ms or self.median_ms
        if not low <= self.median_ms <= high:
            raise invalid(f"got the quartiles {low:g}, {self.median_ms:g} and {high:g} ms, expected them in rising order")
        return self

    @property
    def measured(self) -> Measured:
        """The latency as tables have it: the first quartile, and how much longer the median is."""
        low = self.q1_ms or self.median_ms
        return Measured(max(round(low * 1e6), 1), self.median_ms / low - 1, self.repeats)


class NetworkLatency(Latency):
    """A whole network's.

    Args:
        predicted_ms, limit_ms: in the report of a kit that verifies a search.
    """

    architecture: Architecture
    predicted_ms: Milliseconds | None = None
    limit_ms: Milliseconds | None = None


class LatencyReport(Value):
    """What a file holds.

    Args:
        space: its name and digest, see `name_on_any_data`.
        graphs: what was measured; by default one image a pass in single precision.
        device: facts about it, for people.
        drift: by how much the device's pace changed meanwhile, relative; times are scaled to its faster phases.
        parts, networks: by the names in the kit's manifest.
        reference: name of the network whose time is compared where the device is measured again; by default the first one.
        verifies: the device whose predictions are verified; by default the report is for a table.
        reference_ms: what the reference took when the table was measured, where one is verified.
    """

    space: str
    graphs: KitGraphs = KitGraphs()
    device: dict[str, str | int | float]
    drift: Annotated[float, Field(ge=0)] = 0.0
    parts: dict[str, Latency]
    networks: Annotated[dict[str, NetworkLatency], Field(min_length=1)]
    reference: str | None = None
    verifies: Name | None = None
    reference_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _check_networks(self) -> LatencyReport:
        if self.reference is not None and self.reference not in self.networks:
            raise invalid(f"reference: got {self.reference!r:.60}, expected the name of one of the networks")
        found = [name for name in self.networks if name != self.reference]
        for name in found if self.verifies else ():
            if self.networks[name].predicted_ms is None or self.networks[name].limit_ms is None:
                raise invalid(f"networks.{name:.60}: got no prediction and limit, expected predicted_ms and limit_ms as in the manifest")
        if self.verifies and not found:
            raise invalid("networks: got the reference alone, expected what a search found")
        return self

    @property
    def reference_network(self) -> NetworkLatency:
        """The network whose time tells how fast the device is."""
        return self.networks[self.reference or next(iter(self.networks))]


def read_report(path: Path) -> LatencyReport:
    """Read a report; SpaceError names the file and the key path of the first mistake."""
    return load_json(LatencyReport, path, SCHEMA)


def check_names(path: Path, group: str, found: set[str], expected: set[str]) -> None:
    """LatencyError where a report lacks a graph, or has one that its kit has not."""
    for names, got in ((expected - found, "no latency of"), (found - expected, "a latency of")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise LatencyError(f"{path}: {group}: got {got} {min(names)!r:.100}{more}, expected one of each of the {len(expected)} {group}")
