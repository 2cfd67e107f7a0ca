"""A program that `torch.export.load` reads: the network's graph with its weights, without its Python code."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nas.export.format import ExportedNetwork, Format, image_sizes
from space.architecture import Architecture

CUT_MAPS = frozenset({"ssa", "window"})
"""Mixers that merge or tile maps: the size of theirs is a quotient of quotients of the image's, and the exporter, which proves
every shape symbolically, does not come to an end."""


class SizedFormat(Format):
    """A format whose graph the exporter makes: for any number of images, and for any size of them where it can."""

    def takes_any_size(self, architecture: Architecture) -> bool:
        return not any(block.mixer.type in CUT_MAPS for stage in architecture.stages for block in stage.blocks)

    def program_of(self, exported: ExportedNetwork) -> ExportedProgram:
        """The network's graph."""
        # The largest of the sizes that it is compared at: the exporter takes what is true of it to be true of all, and nothing is 1.
        height, width = image_sizes(self, exported.architecture)[-1]
        images = torch.zeros(2, exported.architecture.in_chans, height, width)
        dims = {0: Dim.DYNAMIC} | ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if self.takes_any_size(exported.architecture) else {})
        return torch.export.export(exported.network, (images,), dynamic_shapes=(dims,))


class Program(SizedFormat):
    """`network.pt2`."""

    files = ("network.pt2",)
    seconds_a_block = 2.0

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        torch.export.save(self.program_of(exported), folder / self.files[0])

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        with warnings.catch_warnings():
            # It lends tensors the bytes of the file, and says that nobody should write to them.
            warnings.simplefilter("ignore", UserWarning)
            return torch.inference_mode()(torch.export.load(folder / self.files[0]).module())

    def usage(self, architecture: Architecture) -> str:
        return """\
import torch

network = torch.export.load("network.pt2").module()
logits = network(images)
"""
