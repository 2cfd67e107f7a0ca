"""`nas.latency verify`: whether what a search found keeps its latency on the device whose latencies were imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from nas.cli.console import table_of
from nas.cli.packages import check_installed
from nas.cli.progress import phase
from nas.latency.config import VerifyConfig
from nas.latency.kit import WRITER, plan_of_kit, say_how_to_measure
from nas.latency.report import LatencyReport
from nas.latency.tables import tables_of_run
from nas.runs.directory import config_of_run
from nas.runs.whole_folder import check_new_folder
from proxies.cost import parse_budget
from proxies.latency import LatencyError
from proxies.latency.fingerprint import name_on_any_data
from proxies.latency.kit_graphs import KitGraphs
from space.architecture import Architecture
from space.files import load_architecture, load_space
from space.narrowing import Narrowing, narrowed

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.kit_folder import Graph
    from proxies.cost import Budget

REFERENCE = "reference"
"""Name of the network that was measured with the table, too."""
FOUND = re.compile(r"best|(?:next|front)-(?P<rank>\d+)")
"""Names of the files in which a search writes what it found."""


def run_verify(config: VerifyConfig, console: Console) -> None:
    """Write a kit of the architectures that a search wrote, with what its table predicts of them."""
    check_installed("kit", WRITER, "ort")
    check_new_folder(config.out)
    searched = config_of_run(config.run)
    space = narrowed(load_space(searched["space"]), [Narrowing.parse(one) for one in searched["only"]])
    budget = parse_budget(searched["budget"])
    quantity = _quantity_of(config, budget)
    table, limit_ms = tables_of_run(config.run, space, budget)[quantity], budget.limits[quantity] / 1e6
    found, kind = _found_in(config.run), table.record.graphs or KitGraphs()
    if config.dry_run:
        plan_of_kit(console, config.out, {}, list(found.values()), kind)
        return

    from nas.latency.kit_folder import graph_of_network, write_kit

    def graphs() -> Iterator[Graph]:
        for name, architecture in found.items():
            about = {"predicted_ms": table.predict(architecture) / 1e6, "limit_ms": limit_ms}
            yield graph_of_network(name, architecture, kind.batch, about)
            advance()
        yield graph_of_network(REFERENCE, table.reference.architecture, kind.batch)
        advance()

    answer = {"space": name_on_any_data(space), "verifies": str(table.target), "reference_ms": table.reference.nanoseconds / 1e6}
    with phase("graphs", len(found) + 1, console) as advance:
        written = write_kit(config.out, graphs(), answer, REFERENCE, kind)
    say_how_to_measure(console, config.out, written)
    console.print(f"then, here: python -m nas.latency import {config.out.name}/latencies.json", soft_wrap=True)


def _quantity_of(config: VerifyConfig, budget: Budget) -> str:
    """The latency that is verified; LatencyError where the budget has none on an imported device, or several."""
    imported = {str(target): quantity for quantity, target in budget.targets.items() if target.is_imported}
    if config.name is None and len(imported) == 1:
        return next(iter(imported.values()))
    if config.name not in imported:
        got = f"the device {config.name}" if config.name else f"a search within {budget}"
        raise LatencyError(f"{config.run}: got {got}, expected {' or '.join(imported) or 'a limit on an imported device'} (--name)")
    return imported[config.name]


def _found_in(run: Path) -> dict[str, Architecture]:
    """The architectures that a search wrote, best first."""
    names = {match["rank"] and int(match["rank"]): file for file in run.glob("*.yaml") if (match := FOUND.fullmatch(file.stem))}
    if None not in names:
        raise LatencyError(f"{run}: got no best.yaml, expected the directory of a search that has ended")
    return {names[rank].stem: load_architecture(names[rank]) for rank in sorted(names, key=lambda rank: rank or 0)}


@dataclass(frozen=True)
class Verified:
    """An architecture that a search found; milliseconds.

    Args:
        measured_ms: at the pace that the device had when its table was measured.
    """

    name: str
    architecture: Architecture
    predicted_ms: float
    measured_ms: float
    limit_ms: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limit."""
        return self.measured_ms <= self.limit_ms


def slowness_of(report: LatencyReport) -> float:
    """How many times as long the device took as when its table was measured."""
    return 1.0 if report.reference_ms is None else report.reference_network.measured.nanoseconds / 1e6 / report.reference_ms


def verified(report: LatencyReport) -> list[Verified]:
    """The architectures in the report of a kit that verifies a search."""
    slowness, found = slowness_of(report), []
    for name, network in report.networks.items():
        if network.predicted_ms is not None and network.limit_ms is not None:
            milliseconds = network.measured.nanoseconds / 1e6 / slowness
            found.append(Verified(name, network.architecture, network.predicted_ms, milliseconds, network.limit_ms))
    return found


def print_verification(console: Console, report: LatencyReport) -> None:
    """Print predicted and measured latencies, and the share that keeps the limit."""
    headings, found = ("", "predicted ms", "measured ms", "limit ms", "holds"), verified(report)
    table = table_of(headings, f"Predicted for {report.verifies}, measured there", texts=("", "holds"))
    for one in found:
        milliseconds = (f"{value:.3g}" for value in (one.predicted_ms, one.measured_ms, one.limit_ms))
        table.add_row(one.name, *milliseconds, "yes" if one.holds else "no")
    console.print(table)
    num_holding, off = sum(one.holds for one in found), [abs(one.predicted_ms / one.measured_ms - 1) for one in found]
    share = f"{num_holding} of {len(found)} hold the limit ({num_holding / len(found):.0%})"
    console.print(f"{share}; predictions err by {mean(off):.1%} on average", soft_wrap=True)
    pace = "measured at the pace that the device had when its table was measured"
    console.print(f"{pace}; now it takes {slowness_of(report):.2f} times as long", soft_wrap=True)
