"""Formats that hold the network's graph with its weights, without its Python code: here one that `torch.export.load` reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.fx.experimental._config
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nas.export.format import ExportedNetwork, Format

METADATA = "metadata.json"
"""Name of the extra file."""
LARGEST_WINDOW = 64
"""Side of the largest window that a mixer's option takes."""


class GraphFormat(Format):
    """A format made of `torch.export`'s graph.

    It takes any number of images whose sides differ from the trained one by multiples of the last map's stride. With these sizes the
    exporter knows every map's side as a linear function of the image's, remainders included.
    """

    def step(self, exported: ExportedNetwork) -> int:
        return exported.architecture.reductions[-1]

    def program_of(self, exported: ExportedNetwork) -> ExportedProgram:
        """The network's graph."""
        step = self.step(exported)
        multiple, rest = divmod(exported.image_size, step)
        # The exporter writes down what holds for the example alone. So its maps have several windows, and it is not square.
        rows, columns = (step * side + rest for side in (LARGEST_WINDOW + 3, LARGEST_WINDOW + 7))
        images = torch.zeros(2, exported.architecture.in_chans, rows, columns)
        # From 2 on: of sides of 1 it would ask how the map lies in memory.
        batch, *sides = (Dim(name, min=2) for name in ("batch", "rows", "columns"))
        height, width = (step * side + rest if rest else step * side for side in sides)
        # As torch.onnx does: it does not ask whether a map is contiguous, which depends on the size.
        with torch.fx.experimental._config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            program = torch.export.export(exported.network, (images,), dynamic_shapes=({0: batch, 2: height, 3: width},))
        for symbol, limits in program.range_constraints.items():
            program.range_constraints[symbol] = type(limits)(min(multiple, 1), limits.upper)
        # It would be written into the file.
        program.example_inputs = None
        return program


class Program(GraphFormat):
    """`network.pt2`, which holds the metadata as an extra file."""

    files = ("network.pt2",)
    seconds_a_block = 8.0

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        about = {METADATA: json.dumps(exported.metadata.document)}
        torch.export.save(self.program_of(exported), folder / self.files[0], extra_files=about)

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        with warnings.catch_warnings():
            # It warns that the tensors share the file's read-only memory.
            warnings.simplefilter("ignore", UserWarning)
            return torch.inference_mode()(torch.export.load(folder / self.files[0]).module())

    def usage(self, exported: ExportedNetwork) -> str:
        return f"""\
import json
import torch

about = {{"{METADATA}": ""}}
network = torch.export.load("network.pt2", extra_files=about).module()
about = json.loads(about["{METADATA}"])  # preprocessing, class names and so on
logits = network(images)
"""
