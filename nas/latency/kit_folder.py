"""The folder of a kit: graphs, their weights, a manifest, and the script that measures them.

All graphs take their weights from one file. Weights of one shape are the same everywhere, so that networks and parts share them:
latency does not depend on values. The script needs Python, numpy and onnxruntime alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from nas import __version__
from nas.runs.whole_folder import folder_written_whole
from proxies.latency.backends import OnnxRuntime, OnnxRuntimeInt8
from proxies.latency.kit_graphs import KitGraphs
from space.architecture import Architecture, Part
from space.fuse import fuse
from space.network import build_network
from space.parts import build_part

MANIFEST, SCRIPT, GRAPHS, WEIGHTS = "manifest.json", "measure.py", "graphs", "weights.bin"
SCHEMA = "latency-kit/1"
LEAST_SHARED_BYTES = 1024
ALIGNMENT = 4096
"""Of weights in their file, so that runtimes can map them into memory."""
WEIGHT_STD = 0.02


@dataclass(frozen=True)
class Graph:
    """A graph of a kit.

    Args:
        name: under which its latency is reported.
        group: `parts` or `networks`.
        module: fused, with the kit's weights.
        inputs: its example inputs.
        about: goes into the report beside the latency.
    """

    name: str
    group: str
    module: nn.Module
    inputs: Tensor | list[Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)


def graph_of_part(key: str, part: Part, batch: int) -> Graph:
    """A part by itself, for some images."""
    maps = [torch.randn(batch, *shape) for shape in part.inputs]
    return Graph(key, "parts", _with_weights(fuse(build_part(part))), maps if part.maps else maps[0])


def graph_of_network(name: str, architecture: Architecture, batch: int, about: Mapping[str, Any] | None = None) -> Graph:
    """A whole network, for some images; its architecture goes into the report."""
    images_BCHW = torch.randn(batch, architecture.in_chans, *(architecture.image_size,) * 2)
    document = {"architecture": architecture.model_dump(mode="json")} | dict(about or {})
    return Graph(name, "networks", _with_weights(build_network(architecture).fuse()), images_BCHW, document)


def write_kit(out: Path, graphs: Iterator[Graph], answer: dict[str, Any], reference: str, kind: KitGraphs) -> int:
    """Write a kit's folder, whole or not at all; returns its bytes.

    Args:
        answer: the entries of the report that no measurement changes: its space, and what it verifies.
        reference: name of the network by whose pace all others are scaled.
        kind: of the graphs.
    """
    backend = (OnnxRuntimeInt8 if kind.int8 else OnnxRuntime)(kind.target)
    answer = answer | {"graphs": kind.model_dump()}
    with folder_written_whole(out) as folder:
        (folder / GRAPHS).mkdir()
        entries = []
        with (folder / GRAPHS / WEIGHTS).open("wb") as file, torch.random.fork_rng(devices=[]), torch.inference_mode():
            weights = _WeightsFile(file)
            for graph in graphs:
                entries.append(_written(folder, graph, backend, weights))
        manifest = {"schema": SCHEMA, "version": __version__, "answer": answer, "reference": reference, "graphs": entries}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / SCRIPT).write_text((resources.files("nas.latency") / SCRIPT).read_text(encoding="utf-8"), encoding="utf-8")
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _written(folder: Path, graph: Graph, backend: OnnxRuntime, weights: _WeightsFile) -> dict[str, Any]:
    """Write one graph, unless an equal one is there; its entry in the manifest."""
    content = weights.moved_out(backend.graph_of(graph.module, graph.inputs))
    name = f"{GRAPHS}/{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    if not (folder / name).exists():
        (folder / name).write_bytes(content)
    inputs = graph.inputs if isinstance(graph.inputs, list) else [graph.inputs]
    shapes = [list(tensor.shape) for tensor in inputs]
    return {"name": graph.name, "group": graph.group, "file": name, "inputs": shapes, "about": dict(graph.about)}


class _WeightsFile:
    """The file of all graphs' weights; equal ones are written once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offsets: dict[bytes, int] = {}

    def moved_out(self, content: bytes) -> bytes:
        """A graph that takes its larger weights from the file."""
        import onnx

        model = onnx.load_from_string(content)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < LEAST_SHARED_BYTES:
                continue
            place = {"location": WEIGHTS, "offset": self._offset_of(tensor.raw_data), "length": len(tensor.raw_data)}
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
        return model.SerializeToString()

    def _offset_of(self, data: bytes) -> int:
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self._file.seek(-(-self._file.tell() // ALIGNMENT) * ALIGNMENT)
            self._offsets[digest] = self._file.tell()
            self._file.write(data)
        return self._offsets[digest]


def _with_weights(module: nn.Module) -> nn.Module:
    """A module, in evaluation mode, whose weights are random but the same for all parameters of one shape."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                seed = int.from_bytes(hashlib.sha256(str(tuple(parameter.shape)).encode()).digest()[:4])
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * WEIGHT_STD)
    return module.eval()
