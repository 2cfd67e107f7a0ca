"""Latencies of ONNX graphs that do the same, measured in one run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from proxies.latency.backends import OnnxRuntime, Run
from proxies.latency.measure import Repeated
from proxies.latency.reference_clock import Measured, Timer
from proxies.target import Target

ROUNDS = 12


def measure_graphs(graphs: Sequence[Path], images_BCHW: Tensor, target: Target, rounds: int = ROUNDS) -> list[Measured]:
    """Measure graphs of one input in the same rounds, in random order, scaled by the pace of the first one.

    Args:
        target: `ort` on the CPU, with the threads of all.
    """
    rng = random.Random(0)
    with _repeated(graphs, images_BCHW, target) as repeated:
        timer = Timer(repeated[0].median)
        for _ in range(rounds):
            for number in rng.sample(range(len(graphs)), len(graphs)):
                timer.add([str(number)] * repeated[number].count, repeated[number].times())
        timer.flush()
    return [timer.measured(str(number)) for number in range(len(graphs))]


def time_ratios(graph: Path, other: Path, images_BCHW: Tensor, target: Target, rounds: int = ROUNDS) -> list[float]:
    """How many times as long as a graph another one takes, round by round; which of them runs first changes."""
    ratios = []
    with _repeated([graph, other], images_BCHW, target) as repeated:
        for number in range(rounds):
            medians = [one.median() for one in (repeated if number % 2 else repeated[::-1])]
            first, second = medians if number % 2 else medians[::-1]
            ratios.append(second / first)
    return ratios


@contextmanager
def _repeated(graphs: Sequence[Path], images_BCHW: Tensor, target: Target) -> Iterator[list[Repeated]]:
    """Graphs, each ready to run on the same images several times; inside, as `Backend.running` says."""
    backend = OnnxRuntime(target)
    with torch.random.fork_rng(devices=[]), backend.running():
        value = backend.value(images_BCHW)
        yield [Repeated(_on(backend, graph, value), backend.clock) for graph in graphs]


def _on(backend: OnnxRuntime, graph: Path, value: object) -> Run:
    """A graph that ignores its argument and always runs on the same images."""
    run = backend.run_of(graph.read_bytes())
    return lambda _: run(value)
