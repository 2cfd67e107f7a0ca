"""An ONNX graph, compared in ONNX Runtime."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.cli.packages import check_installed
from nas.export.format import ExportedNetwork
from nas.export.program import GraphFormat

WRITER = ("onnx", "onnxscript")
"""What PyTorch's exporter needs."""
DIMENSIONS = {0: "batch", 2: "height", 3: "width"}
"""Names of the axes of the images, by which a runtime's options fix them."""
ERRORS_ONLY = 3

USAGE = """\
import json
import numpy
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("network.onnx")
about = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
"""
PIXELS = """\
steps = about["preprocessing"]
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
image = ImageOps.fit(image, (steps["image_size"],) * 2, Image.Resampling.BICUBIC, bleed=(1 - steps["crop_pct"]) / 2)
pixels = (numpy.asarray(image) / 255 - steps["mean"]) / steps["std"]
images = pixels.transpose(2, 0, 1)[None].astype("float32")
"""
"""From `image.jpg` and the metadata to the array of one image."""
LOGITS = """\
(logits,) = session.run(["logits"], {"images": images})
"""
CLASS = 'print(about["class_names"][logits[0].argmax()])\n'


class OnnxGraph(GraphFormat):
    """`network.onnx`: from `images` to `logits`. Its metadata properties hold the metadata, each value as JSON."""

    files = ("network.onnx",)
    seconds_a_block = 12.0

    def check(self) -> None:
        check_installed("--format onnx", (*WRITER, "onnxruntime"), "ort")

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        program = self.program_of(exported)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
        assert graph is not None
        (images,), (logits,) = graph.model.graph.inputs, graph.model.graph.outputs
        assert images.shape is not None
        assert logits.shape is not None
        for axis, dimension in DIMENSIONS.items():
            images.shape[axis] = dimension
        logits.shape[0] = DIMENSIONS[0]
        graph.model.metadata_props.update({name: json.dumps(value) for name, value in exported.metadata.document.items()})
        graph.save(folder / self.files[0])

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        return run_of_file(folder / self.files[0])

    def usage(self, exported: ExportedNetwork) -> str:
        return USAGE + PIXELS + LOGITS + (CLASS if exported.metadata.class_names else "")


def run_of_file(file: Path) -> Callable[[Tensor], Tensor]:
    """A graph from `images` to `logits`, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # The arena keeps the memory of every size that was run, which is many GB for large maps.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
