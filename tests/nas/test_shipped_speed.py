"""The latency that this package measures is the one that a stranger's code measures of the exported graph."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nas.export.onnx_graph import OnnxGraph
from proxies.latency.backends import backend_of
from proxies.latency.measure import Repeated, _prepared_network
from proxies.latency.reference_clock import QUANTILE, Measured
from proxies.target import parse_target
from space import build_network, load_architecture
from space.architecture import Architecture
from tests.nas.exports import with_metadata

BACKEND = backend_of(parse_target("ort:1t:bs1"))
ROUNDS, TRIES = 12, 4
OFF = 0.1
"""How far the two may be apart, relative."""
ARCHITECTURE = load_architecture("topformer-t")
"""Its graph takes milliseconds. Those of small spaces take some hundred microseconds, too short for a ratio on a busy machine."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    OnnxGraph().write(with_metadata(build_network(ARCHITECTURE).fuse(), fused=True), folder)
    return folder / OnnxGraph.files[0]


def opened_by_stranger(graph: Path) -> Callable[[], int]:
    """A graph as anyone's code opens it, and times a run: in processor time, which other processes lengthen least."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, size in {"batch": 1, "height": 224, "width": 224}.items():
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(graph, options)
    images = np.random.rand(1, 3, 224, 224).astype("float32")

    def timed() -> int:
        start = time.process_time_ns()
        session.run(["logits"], {"images": images})
        return time.process_time_ns() - start

    return timed


def ratio(graph: Path, measured: Architecture) -> float:
    """How many times as long as this package measures a graph takes. Both are timed in every round: a slow phase slows both."""
    with BACKEND.running():
        ours = Repeated(_prepared_network(measured, BACKEND), BACKEND.clock)
    timed, times, times_of_stranger = opened_by_stranger(graph), [], []
    for _ in range(ROUNDS):
        with BACKEND.running():
            times += ours.times()
        times_of_stranger += [timed() for _ in range(2 * ours.count)][ours.count :]
    return float(np.quantile(times_of_stranger, QUANTILE)) / Measured.of(times).nanoseconds


def test_the_exported_graph_is_as_fast_as_the_search_says(graph: Path) -> None:
    # On a busy machine the first ones may disagree.
    assert any(ratio(graph, ARCHITECTURE) == pytest.approx(1, abs=OFF) for _ in range(TRIES))


def test_a_measurement_that_left_out_half_of_the_blocks_would_be_noticed(graph: Path) -> None:
    last = ARCHITECTURE.stages[-1]
    shorter = ARCHITECTURE.replace(stages=(*ARCHITECTURE.stages[:-1], last.replace(blocks=last.blocks[:-2])))
    assert ratio(graph, shorter) > 1 + OFF
