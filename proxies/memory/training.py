"""The memory of a training step's activations, without building or running the network.

It is a sum over the parts of an architecture. Each part counts with what it keeps for the backward pass. The head counts with its peak
from its forward pass by way of the loss to the end of its backward pass: there, a step's memory is mostly at its greatest. Where a later
moment of the backward pass needs more than all that has been freed by then, a step needs more than the sum. Among the operators here
that is attention without a fused kernel, `bn_conv_attention`, over a map of some thousand tokens.

Amounts are bytes of single precision. Images and labels count. Weights, their gradients and the optimiser's state do not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.memory.live import LiveMemory
from space.architecture import Architecture, Part
from space.backbone import channels_last_images
from space.operators.layers import channels_first
from space.parts import build_part
from space.registry import Spec
from space.taps import Shape

if TYPE_CHECKING:
    from torch._subclasses.fake_tensor import FakeTensorMode


def training_memory_of(architecture: Architecture, batch: int, image_size: int | tuple[int, int] | None = None) -> int:
    """Bytes of activations in a training step.

    Args:
        batch: images of a step.
        image_size: side, or height and width, of the images; the architecture's own by default.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size or (architecture.image_size,) * 2
    return sum(part_memory(part, batch, size) for part in architecture.parts_at(*size))


def part_memory(part: Part, batch: int, image_size: tuple[int, int]) -> int:
    """What a part adds to the memory of a training step; its inputs are counted with the parts that return them."""
    spec, widths, norm, scale = part.spec, part.widths, part.norm, part.layer_scale
    if part.path == "stem":
        return _kept_by_stem(spec, widths, part.in_size, batch)
    if part.path == "head":
        return _peak_of_head(spec, widths, part.inputs, bool(part.maps), batch, image_size)
    return _kept(spec, widths, part.inputs, bool(part.maps), norm, scale, batch)


def loss_of_logits(logits: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The cross entropy of classes, (B, classes), or of pixels, (B, classes, H, W), whose logits are resized to the image first."""
    if logits.ndim > 2:
        logits = F.interpolate(logits, image_size, mode="bilinear")
    return F.cross_entropy(logits, torch.zeros(logits.shape[:1] + logits.shape[2:], dtype=torch.long))


@lru_cache(maxsize=1024)
def _kept_by_stem(spec: Spec, widths: tuple[int, ...], size: tuple[int, int], batch: int) -> int:
    with _fake():
        module, live = _module(spec, widths)
        images_BCHW = torch.empty(batch, widths[0], *size)
        live.add(images_BCHW)
        with live:
            # What a graph keeps lives as long as its output.
            _output = module(channels_last_images(images_BCHW))
        return live.now


@lru_cache(maxsize=65536)
def _kept(
    spec: Spec, widths: tuple[int, ...], inputs: tuple[Shape, ...], takes_list: bool, norm: Spec | None, layer_scale: float | None,
    batch: int,
) -> int:  # fmt: skip
    with _fake():
        maps = _maps(inputs, batch)
        module, live = _module(spec, widths, norm, layer_scale, maps)
        with live:
            _output = module(maps if takes_list else maps[0])
        return live.now


@lru_cache(maxsize=1024)
def _peak_of_head(
    spec: Spec, widths: tuple[int, ...], inputs: tuple[Shape, ...], takes_list: bool, batch: int, image_size: tuple[int, int]
) -> int:
    with _fake():
        maps = _maps(inputs, batch)
        module, live = _module(spec, widths, None, None, maps)
        parameters = list(module.parameters())
        with live:
            output = module(maps if takes_list else maps[0])
            loss = loss_of_logits(channels_first(output) if output.ndim > 2 else output, image_size)
            del output
            loss.backward()
        return live.peak - sum(parameter.grad.untyped_storage().nbytes() for parameter in parameters if parameter.grad is not None)


def _maps(shapes: tuple[Shape, ...], batch: int) -> list[Tensor]:
    return [torch.empty(batch, *shape, requires_grad=True) for shape in shapes]


def _module(
    spec: Spec, widths: tuple[int, ...], norm: Spec | None = None, layer_scale: float | None = None, maps: list[Tensor] | None = None
) -> tuple[nn.Module, LiveMemory]:
    """A part that is to be trained, and what counts the memory beside its weights and inputs."""
    module = build_part(Part("part", spec, widths, (1, 1), (1, 1), norm, layer_scale), device="cpu").train()
    return module, LiveMemory([*module.parameters(), *module.buffers(), *(maps or [])])


def _fake() -> FakeTensorMode:
    # Imported here: it takes a second or two.
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()
