"""`nas.latency verify`: whether what a search found keeps its latency on the device whose latencies were imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.cli.console import table_of
from nas.cli.progress import phase
from nas.latency.config import VerifyConfig
from nas.latency.kit import check_onnx, plan_of_kit, say_how_to_measure
from nas.latency.report import LatencyReport
from nas.latency.tables import tables_of_run
from nas.runs.directory import config_of_run
from nas.runs.whole_folder import check_new_folder
from proxies.cost import parse_budget
from proxies.latency import LatencyError
from proxies.latency.fingerprint import name_on_any_data
from proxies.latency.fit import errors
from proxies.macs import cost_of
from space.files import load_architecture, load_space

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.kit_folder import Graph
    from proxies.cost import Budget
    from space.architecture import Architecture

FOUND = re.compile(r"best|(?:next|front)-(?P<rank>\d+)")
"""Names of the files in which a search writes what it found."""


def run_verify(config: VerifyConfig, console: Console) -> None:
    """Write a kit of the architectures that a search wrote, with what its table predicts of them."""
    check_onnx()
    check_new_folder(config.out)
    searched = config_of_run(config.run)
    space, budget = load_space(searched["space"]), parse_budget(searched["budget"])
    quantity = _quantity_of(config, budget)
    table, limit_ms = tables_of_run(config.run, space, budget)[quantity], budget.limits[quantity] / 1e6
    found = _found_in(config.run)
    if config.dry_run:
        plan_of_kit(console, config.out, {}, list(found.values()))
        return

    from nas.latency.kit_folder import graph_of_network, write_kit

    def graphs() -> Iterator[Graph]:
        for name, architecture in found.items():
            yield graph_of_network(name, architecture, {"predicted_ms": table.predict(architecture) / 1e6, "limit_ms": limit_ms})
            advance()

    median = sorted(found, key=lambda name: cost_of(found[name]).macs)[len(found) // 2]
    answer = {"space": name_on_any_data(space), "verifies": str(table.target)}
    with phase("graphs", len(found), console) as advance:
        written = write_kit(config.out, graphs(), answer, median)
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


def print_verification(console: Console, report: LatencyReport) -> None:
    """Print predicted and measured latencies, and the share that keeps the limit."""
    headings = ("", "predicted ms", "measured ms", "limit ms", "holds")
    table = table_of(headings, f"Predicted for {report.verifies}, measured there", texts=("", "holds"))
    predicted, measured, holds = [], [], []
    for name, network in report.networks.items():
        assert network.predicted_ms is not None
        assert network.limit_ms is not None
        milliseconds = network.measured.nanoseconds / 1e6
        predicted.append(network.predicted_ms)
        measured.append(milliseconds)
        holds.append(milliseconds <= network.limit_ms)
        cells = (f"{network.predicted_ms:.3g}", f"{milliseconds:.3g}", f"{network.limit_ms:.3g}", "yes" if holds[-1] else "no")
        table.add_row(name, *cells)
    console.print(table)
    found = errors(np.array(predicted), np.array(measured))
    console.print(f"{sum(holds)} of {len(holds)} hold the limit ({np.mean(holds):.0%}); predictions err by {found.mean:.1%} on average")
