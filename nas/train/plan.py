"""What training a supernet would take, alone or in a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.workload import Workload, workload_of
from nas.runs.records.data import DATA
from nas.runs.sizes import CONFIG_BYTES
from nas.train.config import SupernetConfig
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.latency import estimate_seconds
from proxies.macs import part_cost
from proxies.target import Target
from space.search_space import SearchSpace
from supernet.paths import strategy
from supernet.sharing import widest_parts

SAMPLES = 4


def plan_training(config: SupernetConfig, supernet_run: SupernetRun, band: ArchitectureBand | None, targets: Sequence[Target]) -> Plan:
    """The phases, memory and files of `nas.train`.

    Args:
        band: where paths are sampled; none for the whole space.
        targets: the devices on which latency would be measured for the band.
    """
    phase, workload = training_phase(config, supernet_run, band)
    return Plan(
        (*latency_phases(config, supernet_run.space, targets), phase),
        {"in training": memory_now() + workload.training_bytes(config.batch_size)},
        {f"{config.out}/{name}": CONFIG_BYTES for name in ("config.json", DATA)} | {str(supernet_run.weights_file): workload.weights_bytes},
        workload.checkpoint_bytes,
        "" if config.minutes is None else f"; --minutes ends it after {config.minutes:g}",
    )


def training_phase(config: SupernetConfig, supernet_run: SupernetRun, band: ArchitectureBand | None) -> tuple[Phase, Workload]:
    """The supernet's training and its workload: the passes of single paths, the parameters of the supernet."""
    rng, space = Random(0), supernet_run.space
    sampled = [space.sample(rng) if band is None else band.draw(rng) for _ in range(SAMPLES)]
    workload = replace(workload_of(sampled, supernet_run.image_size), params=shared_params(space))
    num_paths = strategy(config.paths).num_paths(space)
    paths = f"{num_paths} paths" if num_paths > 1 else "a path"
    what = f"{config.steps} steps of {paths}, {config.batch_size} images each, at {supernet_run.image_size} px"
    seconds = None if supernet_run.weights_file.exists() else workload.training_seconds(config.steps * num_paths, config.batch_size)
    return Phase("training", what, seconds), workload


def shared_params(space: SearchSpace) -> int:
    """The number of parameters of a space's supernet."""
    of_operators: dict[tuple[str, str], int] = {}
    for part in widest_parts(space):
        # After another norm it is the same operator, with the same weights.
        key = part.path, part.spec.operator
        of_operators[key] = max(of_operators.get(key, 0), part_cost(part).params)
    return sum(of_operators.values())


def latency_phases(config: SupernetConfig, space: SearchSpace, targets: Sequence[Target]) -> list[Phase]:
    """The measurement of latency tables."""
    return [
        Phase("latency", f"a table of the space's parts on {target}", estimate_seconds(space, target, config.latency_tables) or None)
        for target in targets
    ]
