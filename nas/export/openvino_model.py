"""An OpenVINO model, made of the ONNX graph and compared in OpenVINO."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from nas.cli.packages import check_installed
from nas.export.format import ExportedNetwork
from nas.export.onnx_graph import CLASS, PIXELS, WRITER, OnnxGraph
from nas.export.program import GraphFormat

ABOUT = "token_mixer_nas"
"""Key of the metadata in the model's runtime information."""
SINGLE_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""By default OpenVINO computes in bfloat16 on processors that have it, and in half precision on GPUs."""

USAGE = f"""\
import json
import numpy
import openvino
from PIL import Image, ImageOps

core = openvino.Core()
model = core.read_model("network.xml")
network = core.compile_model(model, "CPU", {SINGLE_PRECISION!r})  # without: 16 bits where the device has them
about = json.loads(model.get_rt_info("{ABOUT}").astype(str))
"""
LOGITS = """\
logits = network(images)["logits"]
"""


class OpenVinoModel(GraphFormat):
    """`network.xml` and `network.bin`: from `images` to `logits`, in single precision. Runtime information holds the metadata, as JSON."""

    files = ("network.xml", "network.bin")
    seconds_a_block = 13.0

    def check(self) -> None:
        check_installed("--format openvino", (*WRITER, "openvino"), "openvino")

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        import openvino

        with TemporaryDirectory() as place:
            graph = OnnxGraph()
            graph.write(exported, Path(place))
            # `openvino.convert_model` would report its use to the vendor.
            model = openvino.Core().read_model(Path(place) / graph.files[0])
            model.set_rt_info(json.dumps(exported.metadata.document), ABOUT)
            openvino.save_model(model, folder / self.files[0], compress_to_fp16=False)

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        import openvino

        network = openvino.Core().compile_model(folder / self.files[0], "CPU", SINGLE_PRECISION)
        return lambda images: torch.from_numpy(network(images.numpy())["logits"].copy())

    def usage(self, exported: ExportedNetwork) -> str:
        return USAGE + PIXELS + LOGITS + (CLASS if exported.metadata.class_names else "")
