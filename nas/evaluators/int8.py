"""What INT8 costs a network that was trained: both judged on the same search images, as `ort-int8` times it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from nas.train.supernet_run import SupernetRun
from proxies.latency.backends import OnnxRuntime, onnx_graph
from proxies.latency.int8 import WITH_WEIGHTS, CalibratedGraph
from proxies.target import Target
from space.network import TokenMixerNet
from supernet.data.splits import Splits
from supernet.evaluation import judge
from supernet.score import Score

BATCH = 64
"""Images that the floating-point network sees together; the graph sees one at a time."""


def int8_scores(network: TokenMixerNet, run: SupernetRun) -> tuple[Score, Score]:
    """Score a network in floating point and in INT8, its convolutions and linear layers quantised.

    Both see square images, for which the graph is made: of segmentation, squares of the search images.
    """
    _, splits = run.images()
    fused = copy.deepcopy(network).cpu().eval().fuse()
    squares = list(_squares(run, splits.search))
    with torch.no_grad():
        first = judge(fused, squares, run.task).score
    return first, judge(_in_int8(fused, run, splits), squares, run.task).score


def _squares(run: SupernetRun, indices: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    images, _ = run.images()
    for start in range(0, len(indices), BATCH):
        yield run.task.fixed_batch(images, indices[start : start + BATCH], run.image_size)


def _in_int8(network: TokenMixerNet, run: SupernetRun, splits: Splits) -> Callable[[Tensor], Tensor]:
    """The INT8 graph of a network as a function of images (B, C, S, S), with ranges of the calibration images."""
    backend = OnnxRuntime(Target(backend="ort"))
    calibration = [image[None] for images_BCHW, _ in _squares(run, splits.calibration) for image in images_BCHW]
    with TemporaryDirectory() as name, backend.running():
        folder = Path(name)
        graph = folder / "graph.onnx"
        graph.write_bytes(onnx_graph(network, calibration[0]))
        CalibratedGraph(graph, ({"x": image.numpy()} for image in calibration), folder).write_quantised(WITH_WEIGHTS, folder / "int8.onnx")
        run_one = backend.run_of((folder / "int8.onnx").read_bytes())
    return lambda images_BCHW: torch.cat([torch.from_numpy(run_one(backend.value(image[None])).numpy()) for image in images_BCHW])
