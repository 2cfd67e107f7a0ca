"""`nas.latency import`: the latencies that a kit measured become a device's table, or are compared with what a search predicted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.plan import Phase, Plan, memory_now, print_plan
from nas.latency.config import ImportConfig
from nas.latency.report import LatencyReport, NetworkLatency, check_names, read_report
from nas.latency.verification import print_verification
from proxies.band.space_cost import SpaceParts, key_of
from proxies.latency import LatencyError, LatencyTable, table_path, write_table
from proxies.latency.fingerprint import name_on_any_data, subject_of
from proxies.latency.record import MIN_NETWORKS, NetworkRecord, Record
from proxies.latency.reference_clock import ReferenceClock
from proxies.target import Target, parse_target
from space.files import load_space
from space.search_space import SearchSpace

if TYPE_CHECKING:
    from rich.console import Console

TABLE_BYTES = 5e4


def run_import(config: ImportConfig, console: Console) -> None:
    """Read, check, fit, write; print how well predictions hold."""
    report = read_report(config.latencies)
    if report.verifies:
        print_verification(console, report)
        return
    if config.name is None:
        raise LatencyError("--name: got none, expected what budgets are to call the device, such as pixel8")
    space = load_space(config.space or report.space.split()[0])
    target = parse_target(config.name)
    table = fitted_table(report, space, target, config.latencies)
    path = table_path(space, target, config.latency_tables)
    if config.dry_run:
        print_plan(console, Plan((Phase("import", f"a table of {space.name} on {target}", 1.0),), {"in all": memory_now()},
                                 {str(path): TABLE_BYTES}))  # fmt: skip
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path)
    errors = table.errors
    what = f"{len(report.parts)} parts and {len(report.networks)} networks, {report.graphs}"
    console.print(f"{what}, on {in_words(report)}", soft_wrap=True)
    console.print(
        f"predictions err by {errors.mean:.1%} on average, {errors.within_tenth:.0%} of them by less than 10%; they rank by rho "
        f"{errors.rank_correlation:.3f}; architectures stay a factor of {table.margin():.3f} under a limit", soft_wrap=True,
    )  # fmt: skip
    for note in table.notes:
        console.print(note, soft_wrap=True)
    example = sorted(network.measured.nanoseconds for network in report.networks.values())[len(report.networks) // 2] / 1e6
    console.print(f"wrote {path}; search under it: --space {config.space or space.name} --budget {example:.3g}ms@{target}", soft_wrap=True)


def fitted_table(report: LatencyReport, space: SearchSpace, target: Target, path: Path) -> LatencyTable:
    """The table of a report; LatencyError where that is of another space, or incomplete.

    Args:
        path: the report's file, for errors.
    """
    expected = name_on_any_data(space)
    if report.space != expected:
        raise LatencyError(f"{path}: space: got {report.space!r:.100}, expected {expected!r}")
    parts = SpaceParts(space)
    check_names(path, "parts", set(report.parts), set(parts.parts))
    if len(report.networks) < MIN_NETWORKS:
        raise LatencyError(f"{path}: networks: got {len(report.networks)}, expected {MIN_NETWORKS} or more")
    reference = report.reference_network
    record = Record(
        fingerprint={name: str(fact) for name, fact in report.device.items()} | subject_of(space, target),
        parts={key: latency.measured.nanoseconds for key, latency in report.parts.items()},
        networks=tuple(_network_record(name, network, parts, path) for name, network in report.networks.items()),
        reference=ReferenceClock(architecture=reference.architecture, nanoseconds=reference.measured.nanoseconds),
        drift=report.drift,
        num_classes=space.num_classes,
        in_chans=space.in_chans,
        graphs=report.graphs,
    )
    return LatencyTable(space, target, parts, record)


def _network_record(name: str, network: NetworkLatency, parts: SpaceParts, path: Path) -> NetworkRecord:
    counts, measured = Counter(map(key_of, network.architecture.parts)), network.measured
    if unknown := counts.keys() - parts.parts.keys():
        raise LatencyError(f"{path}: networks.{name:.60}: got the part {min(unknown)!r:.100}, expected a member of {parts.space.name}")
    return NetworkRecord(parts=dict(counts), nanoseconds=measured.nanoseconds, spread=measured.spread)


def in_words(report: LatencyReport) -> str:
    """The device of a report, in words."""
    return ", ".join(f"{name} {fact}" for name, fact in report.device.items())[:300]
