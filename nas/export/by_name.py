"""The formats by name: what a trained network can be written as, one file each. The same class writes a format and loads it back."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.export.format import Format

FORMATS = {
    "timm": "nas.export.timm_folder:TimmFolder",
    "onnx": "nas.export.onnx_graph:OnnxGraph",
    "openvino": "nas.export.openvino_model:OpenVinoModel",
    "torch-export": "nas.export.program:Program",
    "module": "nas.export.single_file:SingleFile",
}
"""Where the class of a format is. It is imported when it is used: each needs a library that takes seconds."""
FUSABLE = ("onnx", "openvino", "torch-export", "module")
"""The formats that hold an inference network. A timm model can be trained further, so it is not fused."""


def format_named(name: str) -> Format:
    """The format of one of these names."""
    form: Format = resolve_name(FORMATS[name])()
    return form
