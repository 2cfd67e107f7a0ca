"""INT8 graphs: every operator can be one, what is not asked for stays in floating point, and calibration decides the ranges."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from proxies.latency.backends import onnx_graph
from proxies.latency.graphs import measure_graphs, time_ratios
from proxies.latency.int8 import LINEAR, PRODUCTS, WITH_WEIGHTS, CalibratedGraph
from proxies.target import Target
from space import build_network
from space.kinds import MIXERS
from tests.contracts.conftest import specs_of
from tests.nas.exports import with_operator

SPECS = {spec.type: spec for spec in specs_of(MIXERS)}
IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def graph_of(kind: str, folder: Path) -> tuple[Path, np.ndarray]:
    """A graph of a small network with a mixer of this kind, and its logits of the images."""
    network = build_network(with_operator(SPECS[kind])).eval()
    file = folder / "graph.onnx"
    file.write_bytes(onnx_graph(network, IMAGES))
    with torch.no_grad():
        return file, network(IMAGES).numpy()


def run(file: Path) -> np.ndarray:
    (logits,) = onnxruntime.InferenceSession(file).run(None, {"x": IMAGES.numpy()})
    return np.asarray(logits)


def num_quantised(file: Path) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in onnx.load(file).graph.node)


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_every_mixer_is_quantised(kind: str, tmp_path: Path) -> None:
    graph, logits = graph_of(kind, tmp_path)
    calibrated = CalibratedGraph(graph, [{"x": IMAGES.numpy()}], tmp_path)
    assert next(iter(calibrated.kinds)) == LINEAR
    calibrated.write_quantised(WITH_WEIGHTS, tmp_path / "int8.onnx")
    calibrated.write_quantised((), tmp_path / "float.onnx")
    # Less than a step of its range for each of a few layers.
    assert 0 < np.abs(run(tmp_path / "int8.onnx") - logits).max() < 0.1 * np.abs(logits).max()
    np.testing.assert_allclose(run(tmp_path / "float.onnx"), logits, rtol=1e-3, atol=1e-4)
    assert num_quantised(tmp_path / "float.onnx") == 0 < num_quantised(tmp_path / "int8.onnx")


def test_ranges_are_those_of_the_calibration_images(tmp_path: Path) -> None:
    graph, logits = graph_of("global_mhra", tmp_path)
    (tmp_path / "dark").mkdir()
    calibrated = CalibratedGraph(graph, [{"x": 1e-3 * IMAGES.numpy()}], tmp_path / "dark")
    calibrated.write_quantised(calibrated.kinds, tmp_path / "int8.onnx")
    # Nothing beyond a range is told apart.
    assert np.abs(run(tmp_path / "int8.onnx") - logits).max() > 0.1 * np.abs(logits).max()


def test_more_kinds_quantise_more_nodes(tmp_path: Path) -> None:
    graph, _ = graph_of("global_mhra", tmp_path)
    calibrated = CalibratedGraph(graph, [{"x": IMAGES.numpy()}], tmp_path)
    counts = []
    for kinds in ((LINEAR,), WITH_WEIGHTS, (*WITH_WEIGHTS, PRODUCTS)):
        calibrated.write_quantised(kinds, tmp_path / "int8.onnx")
        counts.append(num_quantised(tmp_path / "int8.onnx"))
    assert counts[0] < counts[1] < counts[2]


def test_graphs_are_measured_together(tmp_path: Path) -> None:
    graph, _ = graph_of("local_mhra", tmp_path)
    found = measure_graphs([graph, graph], IMAGES, Target(backend="ort"), rounds=2)
    assert len(found) == 2
    assert all(one.nanoseconds > 1000 for one in found)
    assert all(ratio > 0 for ratio in time_ratios(graph, graph, IMAGES, Target(backend="ort"), rounds=3))
