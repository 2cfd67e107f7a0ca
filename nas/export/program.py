"""Formats that hold the network's graph with its weights, without its Python code: here one that `torch.export.load` reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nas.export.format import ExportedNetwork, Format, image_sizes
from space.architecture import Architecture
from space.registry import Spec

METADATA = "metadata.json"
"""Name of the extra file."""


class GraphFormat(Format):
    """A format made of `torch.export`'s graph: for any number of images, and for any size of them where the exporter can.

    It cannot where a mixer is registered with `fixed_size_graph=True`, or has an option that its registration names there. Such mixers
    merge or tile tokens, so their map sizes are nested quotients of the image's, on which torch.export's symbolic shapes take forever.
    """

    def takes_any_size(self, architecture: Architecture) -> bool:
        blocks = [block for stage in architecture.stages for block in stage.blocks]
        return not any(has_fixed_size(block.mixer) for block in blocks)

    def program_of(self, exported: ExportedNetwork) -> ExportedProgram:
        """The network's graph."""
        # The largest size that is compared, and two images: the exporter assumes for all sizes what holds for this one, and
        # specialises dimensions of 1.
        height, width = image_sizes(self, exported)[-1]
        images = torch.zeros(2, exported.architecture.in_chans, height, width)
        dims = {0: Dim.DYNAMIC} | ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if self.takes_any_size(exported.architecture) else {})
        return torch.export.export(exported.network, (images,), dynamic_shapes=(dims,))


def has_fixed_size(mixer: Spec) -> bool:
    """Whether a mixer's graph is for one size of its map."""
    trait = mixer.traits.get("fixed_size_graph", False)
    return bool(mixer.options[trait] if isinstance(trait, str) else trait)


class Program(GraphFormat):
    """`network.pt2`, which holds the metadata as an extra file."""

    files = ("network.pt2",)
    seconds_a_block = 2.0

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
