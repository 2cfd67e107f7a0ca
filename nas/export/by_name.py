"""The formats by name: what a trained network can be handed on as, one file each, written and loaded back by the same class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.export.format import Format

FORMATS = ("timm", "onnx", "torch-export", "module")
FUSABLE = ("onnx", "torch-export", "module")
"""The formats that hold an inference network; a timm model goes on training."""


def format_named(name: str) -> Format:
    """The format of one of these names."""
    if name == "timm":
        from nas.export.timm_folder import TimmFolder

        return TimmFolder()
    if name == "onnx":
        from nas.export.onnx_graph import OnnxGraph

        return OnnxGraph()
    if name == "torch-export":
        from nas.export.program import Program

        return Program()
    from nas.export.single_file import SingleFile

    return SingleFile()
