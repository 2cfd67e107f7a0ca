"""`nas.latency kit`: every part of a space and some whole networks, as graphs to measure elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from nas.cli.packages import check_installed
from nas.cli.plan import Phase, Plan, memory_now, print_plan
from nas.cli.progress import duration, phase
from nas.latency.config import KitConfig
from nas.runs.whole_folder import check_new_folder
from proxies.cost import parse_budget, without_latency
from proxies.latency.kit_graphs import KitGraphs
from space.files import load_space

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.kit_folder import Graph
    from proxies.band.space_cost import SpaceParts
    from space.architecture import Architecture, Part

SECONDS_A_PART, SECONDS_A_NETWORK = 0.2, 1.5
"""To write a graph, roughly."""
TIMES_INT8 = 3
"""How many times as long quantised ones take."""
BYTES_A_PART, BYTES_A_NETWORK = 3e4, 5e5
"""Of graphs without weights."""
WRITER = ("onnx", "onnxruntime")
"""Packages that write graphs, and quantise them."""


def run_kit(config: KitConfig, console: Console) -> None:
    """Say what the kit will be and write it."""
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.band.space_cost import SpaceParts

    check_installed("kit", WRITER, "ort")
    check_new_folder(config.out)
    space = load_space(config.space)
    draw = space.sample if config.budget is None else ArchitectureBand(space, without_latency(parse_budget(config.budget))).draw
    rng = Random(config.seed)
    networks = {f"network-{i:02}": draw(rng) for i in range(1, config.networks + 1)}
    parts, kind = SpaceParts(space), KitGraphs(batch=config.batch_size, int8=config.int8)
    if config.dry_run:
        plan_of_kit(console, config.out, parts.parts, list(networks.values()), kind)
        return

    from nas.latency.kit_folder import write_kit
    from proxies.latency.fingerprint import name_on_any_data
    from proxies.macs import cost_of

    median = sorted(networks, key=lambda name: cost_of(networks[name]).macs)[len(networks) // 2]
    megabytes = _expected_bytes(parts.parts, list(networks.values()), kind) / 1e6
    seconds = sum(_expected_seconds(len(parts.parts), len(networks), kind))
    what = f"{len(parts.parts)} parts of {space.name} and {len(networks)} networks, {kind}"
    console.print(f"{what}: about {megabytes:.0f} MB in {duration(seconds)}", soft_wrap=True)
    with phase("graphs", len(parts.parts) + len(networks), console) as advance:

        def counted(graphs: Iterator[Graph]) -> Iterator[Graph]:
            for graph in graphs:
                yield graph
                advance()

        answer = {"space": name_on_any_data(space)}
        written = write_kit(config.out, counted(_graphs(parts, networks, kind)), answer, median, kind)
    say_how_to_measure(console, config.out, written)
    console.print(f"then, here: python -m nas.latency import {config.out.name}/latencies.json --name NAME", soft_wrap=True)


def say_how_to_measure(console: Console, out: object, num_bytes: int) -> None:
    """Print what was written and how it is run."""
    where = "Copy it to the device, which needs numpy and onnxruntime, and run there:"
    console.print(f"wrote {out}, {num_bytes / 1e6:.1f} MB. {where}", soft_wrap=True)
    console.print("  python measure.py --threads 1 --minutes 5", soft_wrap=True)


def _graphs(parts: SpaceParts, networks: dict[str, Architecture], kind: KitGraphs) -> Iterator[Graph]:
    from nas.latency.kit_folder import graph_of_network, graph_of_part

    for key, part in parts.parts.items():
        yield graph_of_part(key, part, kind.batch)
    for name, architecture in networks.items():
        yield graph_of_network(name, architecture, kind.batch)


def plan_of_kit(console: Console, out: Path, parts: Mapping[str, Part], networks: Sequence[Architecture], kind: KitGraphs) -> None:
    """Print what writing a kit would take."""
    of_parts, of_networks = _expected_seconds(len(parts), len(networks), kind)
    phases = (
        Phase("parts", f"{len(parts)} graphs of parts, {kind}", of_parts),
        Phase("networks", f"{len(networks)} graphs of whole networks", of_networks),
    )
    print_plan(console, Plan(phases, {"in all": memory_now()}, {f"{out}/": _expected_bytes(parts, networks, kind)}))


def _expected_seconds(num_parts: int, num_networks: int, kind: KitGraphs) -> tuple[float, float]:
    """What writing the graphs of parts and those of networks takes."""
    times = TIMES_INT8 if kind.int8 else 1
    return num_parts * SECONDS_A_PART * times, num_networks * SECONDS_A_NETWORK * times


def _expected_bytes(parts: Mapping[str, Part], networks: Sequence[Architecture], kind: KitGraphs) -> float:
    """The size of a kit: weights of one shape are written once."""
    from space.parts import build_part

    every = [*parts.values(), *(part for network in networks for part in network.parts)]
    modules = [build_part(part, device="meta") for part in {(part.spec, part.widths): part for part in every}.values()]
    shapes = {tuple(parameter.shape) for module in modules for parameter in module.parameters()}
    bytes_a_weight = 1.0 if kind.int8 else 4.0
    return bytes_a_weight * sum(map(math.prod, shapes)) + len(parts) * BYTES_A_PART + len(networks) * BYTES_A_NETWORK
