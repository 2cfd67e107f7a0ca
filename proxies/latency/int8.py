"""INT8 graphs, made by ONNX Runtime's own tools: static quantisation with ranges from calibration images, in the QDQ format.

Activations are unsigned and have one range a tensor; weights are signed, with a range a channel. That is what ONNX Runtime advises for
x86 processors with VNNI (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

CONVOLUTIONS, DEPTHWISE, LINEAR, PRODUCTS = "convolutions", "depthwise convolutions", "linear layers", "products of activations"
MOVES = "moves of data"
WITH_WEIGHTS = (LINEAR, CONVOLUTIONS, DEPTHWISE)
"""The kinds of nodes that hold nearly all weights and multiply-adds: what latencies of INT8 graphs are measured with."""
_PRODUCTS = ("MatMul", "Gemm")
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Pad", "Split", "Gather", "Concat", "Resize")

Feed = Mapping[str, np.ndarray]
"""What a graph takes, by the names of its inputs."""


class CalibratedGraph:
    """A graph, prepared for quantisation, and the ranges of its tensors. The files are kept in a folder of the caller's.

    Args:
        graph: an ONNX file.
        feeds: calibration images.
        folder: exists; for the prepared graph and the ranges.

    Attributes:
        kinds: names of the nodes that can be INT8, by kind: `WITH_WEIGHTS` first, then `PRODUCTS`, `MOVES`, and ONNX operators such as
            `Softmax`.
    """

    def __init__(self, graph: Path, feeds: Iterable[Feed], folder: Path) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._prepared, self._ranges = folder / "prepared.onnx", folder / "ranges.json"
        with _quiet():
            # The symbolic inference of shapes needs another package and adds none that a quantiser of these graphs asks for.
            quant_pre_process(graph, self._prepared, skip_symbolic_shape=True)
        self.kinds = _kinds_of(self._prepared)
        self._feeds = feeds

    def write_quantised(self, kinds: Collection[str], file: Path) -> None:
        """Write the graph with the nodes of these kinds quantised, and all others in floating point."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        in_float = [name for kind, names in self.kinds.items() if kind not in kinds for name in names]
        with _quiet():
            # The first call measures the ranges of all tensors and keeps them in the file.
            quantize_static(
                self._prepared, file, _Reader(self._feeds), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=in_float, calibration_cache_path=self._ranges,
            )  # fmt: skip


def int8_graph(graph: bytes, feed: Feed) -> bytes:
    """A graph whose convolutions and linear layers are INT8, with the ranges of one feed: for its latency, not for its logits."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.onnx").write_bytes(graph)
        CalibratedGraph(folder / "graph.onnx", [feed], folder).write_quantised(WITH_WEIGHTS, folder / "int8.onnx")
        return (folder / "int8.onnx").read_bytes()


def _kinds_of(file: Path) -> dict[str, tuple[str, ...]]:
    import onnx
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    graph = onnx.load(file).graph
    weights = {one.name for one in graph.initializer} | {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    kinds: dict[str, list[str]] = {kind: [] for kind in (*WITH_WEIGHTS, PRODUCTS, MOVES)}
    for node in graph.node:
        if node.op_type in QDQRegistry or node.op_type in QLinearOpsRegistry:
            kinds.setdefault(_kind_of(node, weights), []).append(node.name)
    return {kind: tuple(names) for kind, names in kinds.items() if names}


def _kind_of(node: Any, weights: Collection[str]) -> str:
    if node.op_type == "Conv":
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        return DEPTHWISE if groups > 1 else CONVOLUTIONS
    if node.op_type in _PRODUCTS:
        return LINEAR if any(name in weights for name in node.input[:2]) else PRODUCTS
    return MOVES if node.op_type in _MOVES else str(node.op_type)


class _Reader:
    """Feeds as ONNX Runtime's calibration reads them."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, ONNX Runtime's tools do not advise on the console."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
