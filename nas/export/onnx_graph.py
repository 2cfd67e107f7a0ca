"""An ONNX graph, compared in ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from nas.export.format import ExportedNetwork, ExportError
from nas.export.program import GraphFormat
from space.architecture import Architecture

NEEDED = ("onnx", "onnxscript", "onnxruntime")
ERRORS_ONLY = 3


class OnnxGraph(GraphFormat):
    """`network.onnx`: from `images` to `logits`."""

    files = ("network.onnx",)
    seconds_a_block = 5.0

    def check(self) -> None:
        for package in NEEDED:
            if find_spec(package) is None:
                raise ExportError(f"--format onnx: got no {package}, expected it installed: pip install 'token-mixer-nas[ort]'")

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        program = self.program_of(exported)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
        assert graph is not None
        graph.save(folder / self.files[0])

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        session = onnxruntime.InferenceSession(folder / self.files[0], options, providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    def usage(self, architecture: Architecture) -> str:
        return """\
import onnxruntime

session = onnxruntime.InferenceSession("network.onnx")
(logits,) = session.run(["logits"], {"images": images})  # a float32 array
"""
