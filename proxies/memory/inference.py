"""The most memory that one inference needs, without building or running the network.

It is a maximum over the parts of an architecture: what a part needs at its worst moment, its input among it, and what lives beside it. A
part's own need is found by running it on tensors without data. What lives beside it follows from how networks run in Python: a caller
holds the arguments of a call until it returns. So beside a part live the image, the maps that stage and block have begun with, and the
maps that a head of several maps will take.

Amounts are bytes of single precision for one image. Weights are left out, and so is what kernels allocate for themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from proxies.memory.live import LiveMemory
from space.architecture import Architecture, Part
from space.backbone import channels_last_images
from space.parts import build_part
from space.registry import Spec
from space.taps import Shape, taps_of

ELEMENT = 4
"""Bytes of a number."""


def peak_of(architecture: Architecture, image_size: int | tuple[int, int] | None = None) -> int:
    """The most bytes of activations that are alive during an inference of one image.

    Args:
        image_size: side, or height and width, of the image; the architecture's own by default.
    """
    return max(peaks_of(architecture, image_size).values())


def peaks_of(architecture: Architecture, image_size: int | tuple[int, int] | None = None) -> dict[str, int]:
    """The most bytes of activations that are alive while each part runs, by its path."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size or (architecture.image_size,) * 2
    around = Surroundings(architecture, *size)
    peaks: dict[str, int] = {}
    blocks: dict[tuple[int, int], list[Part]] = {}
    for part in architecture.parts_at(*size):
        match part.path.split("."):
            case ["stages", stage, "blocks", block, _]:
                blocks.setdefault((int(stage), int(block)), []).append(part)
            case _:
                peaks[part.path] = around.peak(part)
    for (index, number), of_block in blocks.items():
        # The very first block begins with the map that its stage began with.
        counted = bytes_of(of_block[0].inputs) if index == number == 0 else 0
        for part, need in zip(of_block, block_needs(of_block), strict=True):
            peaks[part.path] = around.base(index) - counted + need
    return peaks


def block_needs(parts: Sequence[Part]) -> list[int]:
    """What each part of a block needs beyond what its stage holds: the block's input is held until the block ends."""
    return [part_need(part) + (bytes_of(part.inputs) if number else 0) for number, part in enumerate(parts)]


class Surroundings:
    """What lives beside the parts of an architecture; its blocks do not matter.

    Args:
        height, width: of the image.
    """

    def __init__(self, architecture: Architecture, height: int, width: int) -> None:
        self._architecture = architecture
        self._image = bytes_of([(height, width, architecture.in_chans)])
        self._maps = architecture.features_at(height, width)
        self._num_scales = len(self._maps) - len(architecture.stages)
        self._taps = taps_of(architecture.head, self._maps)
        stem = architecture.stem.out_size(height, width)
        self._first = bytes_of([(*stem, architecture.stages[0].width)])

    def base(self, stage: int) -> int:
        """What lives while a stage runs, its input among it."""
        if not self._taps:
            return self._image + (bytes_of(self._maps[stage - 1 : stage]) if stage else self._first)
        # Networks of several maps hold them, and the copy of the image that the stem has taken.
        copied = self._image if self._architecture.in_chans > 1 else 0
        return self._image + copied + bytes_of(self._maps[: self._num_scales + stage]) + (0 if stage else self._first)

    def peak(self, part: Part) -> int:
        """What is alive at the worst moment of a part that is in no block."""
        need, maps = part_need(part), bytes_of(self._maps)
        match part.path.split("."):
            case ["stem"]:
                return need
            case ["stages", stage, "downsample"]:
                return self.base(int(stage)) - bytes_of(part.inputs) + need
            case ["stages", stage, _]:
                return self.base(int(stage)) + need
            case ["taps", number]:
                before = [(*self._maps[tap.sources[0].feature][:2], tap.width) for tap in self._taps[: int(number)]]
                return self._image + maps - bytes_of(part.inputs) + bytes_of(before) + need
            case _:
                return self._image + (maps if self._taps else 0) + need


def bytes_of(shapes: Sequence[Shape]) -> int:
    """Bytes of maps."""
    return ELEMENT * sum(map(math.prod, shapes))


def part_need(part: Part) -> int:
    """What a part needs at its worst moment, its inputs among it; a stem's input is the image, and the copy of it that it takes."""
    return _need(part.spec, part.widths, part.inputs, bool(part.maps), part.norm, part.layer_scale, part.path == "stem")


@lru_cache(maxsize=65536)
def _need(
    spec: Spec, widths: tuple[int, ...], inputs: tuple[Shape, ...], takes_list: bool, norm: Spec | None, layer_scale: float | None,
    is_stem: bool,
) -> int:  # fmt: skip
    # Imported here: it takes a second or two.
    from torch._subclasses.fake_tensor import FakeTensorMode

    # On the meta device, operators may take other ways than on a CPU: attention has no fused kernel there.
    with torch.no_grad(), FakeTensorMode():
        module = build_part(Part("part", spec, widths, (1, 1), (1, 1), norm, layer_scale), device="cpu").eval()
        live = LiveMemory([*module.parameters(), *module.buffers()])
        maps = [_map(shape, is_stem) for shape in inputs]
        for one in maps:
            live.add(one)
        with live:
            if is_stem:
                module(channels_last_images(maps[0]))
            else:
                module(maps if takes_list else maps[0])
    return live.peak


def _map(shape: Shape, is_image: bool) -> Tensor:
    height, width, channels = shape
    return torch.empty(1, channels, height, width) if is_image else torch.empty(1, height, width, channels)
