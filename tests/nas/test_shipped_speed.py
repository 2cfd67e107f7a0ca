"""The latency that this package measures is the one that a stranger's code measures of the exported graph."""

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nas.export.onnx_graph import OnnxGraph
from proxies.latency import measure_architecture
from proxies.latency.measure import Effort
from proxies.target import parse_target
from space import build_network, load_architecture
from space.architecture import Architecture
from tests.nas.exports import with_metadata

TARGET = parse_target("ort:1t:bs1")
A_ROUND = Effort(seconds=0, least_rounds=2)
ROUNDS, TRIES = 5, 4
OFF = 0.1
"""How far the two may be apart, relative."""
ARCHITECTURE = load_architecture("topformer-t")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported network, in milliseconds instead of some hundred microseconds, which last too short for a ratio."""
    folder = tmp_path_factory.mktemp("export")
    OnnxGraph().write(with_metadata(build_network(ARCHITECTURE).eval()), folder)
    return folder / OnnxGraph.files[0]


def seconds_of_stranger(graph: Path, repeats: int = 40) -> float:
    """What ten lines of anyone's code say of a graph: processor time, which other processes lengthen least."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, size in {"batch": 1, "height": 224, "width": 224}.items():
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(graph, options)
    times = []
    for _ in range(repeats):
        images = np.random.rand(1, 3, 224, 224).astype("float32")
        start = time.process_time()
        session.run(["logits"], {"images": images})
        times.append(time.process_time() - start)
    return float(np.quantile(times, 0.25))


def ratio(graph: Path, measured: Architecture) -> float:
    """How many times as long as this package says a graph takes: the median of rounds in which both are timed, so that a slow phase of
    the machine slows both."""
    return statistics.median(
        seconds_of_stranger(graph) * 1e9 / measure_architecture(measured, TARGET, A_ROUND).nanoseconds for _ in range(ROUNDS)
    )


def test_the_exported_graph_is_as_fast_as_the_search_says(graph: Path) -> None:
    # On a busy machine the first rounds may disagree.
    assert any(ratio(graph, ARCHITECTURE) == pytest.approx(1, abs=OFF) for _ in range(TRIES))


def test_a_measurement_that_left_out_half_of_the_blocks_would_be_noticed(graph: Path) -> None:
    last = ARCHITECTURE.stages[-1]
    shorter = ARCHITECTURE.replace(stages=(*ARCHITECTURE.stages[:-1], last.replace(blocks=last.blocks[:-2])))
    assert ratio(graph, shorter) > 1 + OFF
