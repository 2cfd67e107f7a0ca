"""Exact multiply-adds and parameters of an architecture, part by part, without building the network.

Each part's module runs once on the meta device, where tensors have shapes and no memory, and every operator that it
calls is looked up here: counted, known to be free, taken apart, or refused. A silent zero cannot happen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from proxies.cost import Cost
from space.architecture import Architecture, Part
from space.errors import UserError
from space.parts import build_part
from space.registry import Spec
from space.taps import Shape

aten = torch.ops.aten


class UncountedOpError(UserError):
    """A network calls an operator whose multiply-adds are unknown."""


def cost_of(architecture: Architecture, image_size: int | tuple[int, int] | None = None) -> Cost:
    """Cost of an architecture: the sum over its parts.

    Args:
        image_size: side, or height and width, of the image; the architecture's own by default.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size or (architecture.image_size,) * 2
    parts = architecture.parts if (height, width) == (architecture.image_size,) * 2 else architecture.parts_at(height, width)
    return sum(map(part_cost, parts), Cost(0, 0))


def part_cost(part: Part) -> Cost:
    """Cost of one part: multiply-adds of convolutions and matrix products for one image, and all parameters.

    Norms, activations, pooling and sums count no multiply-adds. UncountedOpError where an operator has no rule.
    """
    return _measure(part.spec, part.widths, part.inputs, bool(part.maps), part.norm, part.layer_scale)[0]


def part_activations(part: Part) -> int:
    """Elements that a part's convolutions, linear layers and matrix products put out for one image.

    This measure from https://arxiv.org/abs/2003.13678 (section 4.2) predicts memory traffic better than multiply-adds do.
    """
    return _measure(part.spec, part.widths, part.inputs, bool(part.maps), part.norm, part.layer_scale)[1]


@lru_cache(maxsize=65536)
def _measure(
    spec: Spec, widths: tuple[int, ...], inputs: tuple[Shape, ...], takes_list: bool, norm: Spec | None, layer_scale: float | None
) -> tuple[Cost, int]:
    module = _module(spec, widths, norm, layer_scale)
    counter = _MacCounter(spec.label)
    # In inference mode composite operators such as `linear` arrive whole, which saves taking them apart.
    with torch.inference_mode(), counter:
        maps = [torch.empty(1, *shape, device="meta") for shape in inputs]
        module(maps if takes_list else maps[0])
    return Cost(counter.macs, sum(parameter.numel() for parameter in module.parameters())), counter.activations


@lru_cache(maxsize=4096)
def _module(spec: Spec, widths: tuple[int, ...], norm: Spec | None, layer_scale: float | None) -> nn.Module:
    """The module for maps of any size. It is kept, since building takes as long as counting."""
    anywhere = (1, 1)
    return build_part(Part("part", spec, widths, anywhere, anywhere, norm, layer_scale), device="meta").eval()


class _MacCounter(TorchDispatchMode):
    """Adds up the multiply-adds, and the outputs' elements, of the operators called inside; `label` is for error messages."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.macs = 0
        self.activations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's own switch. True would import the compiler, which takes as long as torch, to keep it out of this mode.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in _WHOLE:
            macs, output = _WHOLE[packet](*args, **kwargs)
            self.macs += macs
            self.activations += output.numel() if macs else 0
            return output
        if packet in _SAME_SHAPE:
            # Not `empty_like`, which on the meta device imports a computer algebra system first.
            return args[0].new_empty(args[0].shape)
        if packet in FREE:
            return func(*args, **kwargs)
        with self:
            output = func.decompose(*args, **kwargs)
        if output is NotImplemented:
            raise UncountedOpError(
                f"{self.label}: got the operator {packet}, whose multiply-adds are unknown; "
                "expected one that proxies/macs.py has a rule for")
        return output


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[int, Tensor]:
    return x.numel() * weight.shape[0], x.new_empty(*x.shape[:-1], weight.shape[0])


def _product(*operands: Tensor, **_: Any) -> tuple[int, Tensor]:
    """The product of the last two operands; an operand before them is added."""
    first, second = operands[-2:]
    output = first.new_empty(*first.shape[:-1], second.shape[-1])
    return output.numel() * first.shape[-1], output


def _matmul(first: Tensor, second: Tensor) -> tuple[int, Tensor]:
    # Taken apart it would import a computer algebra system.
    batch = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    output = first.new_empty((*batch, *first.shape[-2:-1], *(second.shape[-1:] if second.ndim > 1 else ())))
    return output.numel() * first.shape[-1], output


def _attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> tuple[int, Tensor]:
    """Both products: queries with keys, and the result with values, whose heads may have another size."""
    output = q.new_empty(*q.shape[:-1], v.shape[-1])
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]), output


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    transposed: bool, output_padding: Sequence[int], groups: int,
) -> tuple[int, Tensor]:  # fmt: skip
    # Run on the meta device it would import a computer algebra system, which takes half a second.
    kernel, sizes = weight.shape[2:], x.shape[2:]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if transposed:
        sides = [
            (size - 1) * s - 2 * p + r + more for size, s, p, r, more in zip(sizes, stride, padding, reach, output_padding, strict=True)
        ]
        output = x.new_empty(x.shape[0], weight.shape[1] * groups, *sides)
        return x.numel() * math.prod(weight.shape[1:]), output
    output = x.new_empty(
        x.shape[0], weight.shape[0], *((size + 2 * p - r) // s + 1 for size, s, p, r in zip(sizes, stride, padding, reach, strict=True))
    )
    return output.numel() * math.prod(weight.shape[1:]), output


def _layer_norm(x: Tensor, *_: Any, **__: Any) -> tuple[int, Tensor]:
    # Unlike elementwise operators it returns a contiguous tensor.
    return 0, x.new_empty(x.shape)


def _elementwise(*operands: Any, **_: Any) -> tuple[int, Tensor]:
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    return 0, tensors[0].new_empty(np.broadcast_shapes(*(tensor.shape for tensor in tensors)))


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> tuple[int, Tensor]:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return 0, tensors[0].new_empty(shape)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> tuple[int, Tensor]:
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return 0, tensors[0].new_empty(shape)


def _reduction(x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> tuple[int, Tensor]:
    dims = {d % x.ndim for d in (dim if dim is not None else range(x.ndim))}
    kept = ((1 if d in dims else size) for d, size in enumerate(x.shape) if keepdim or d not in dims)
    return 0, x.new_empty(tuple(kept))


def _adaptive_pool(x: Tensor, size: Sequence[int]) -> tuple[int, Tensor]:
    return 0, x.new_empty(*x.shape[:-2], *size)


def _resized(x: Tensor, size: Sequence[int], *_: Any) -> tuple[int, Tensor]:
    return 0, x.new_empty(*x.shape[:2], *size)


_WHOLE: dict[Any, Callable[..., tuple[int, Tensor]]] = {
    aten.linear: _linear,
    aten.mm: _product,
    aten.bmm: _product,
    aten.matmul: _matmul,
    aten.addmm: _product,
    aten.baddbmm: _product,
    aten.convolution: _convolution,
    aten.scaled_dot_product_attention: _attention,
    aten.layer_norm: _layer_norm,
    aten.mean: _reduction,
    aten.amax: _reduction,
    aten.amin: _reduction,
    aten.adaptive_avg_pool2d: _adaptive_pool,
    aten.upsample_bilinear2d: _resized,
    aten.upsample_nearest2d: _resized,
    aten.stack: _stack,
    aten.cat: _cat,
    aten.add: _elementwise,
    aten.sub: _elementwise,
    aten.rsub: _elementwise,
    aten.mul: _elementwise,
    aten.div: _elementwise,
}
"""Operators counted in one piece, faster than taken apart or run: multiply-adds and an output of the right shape."""

_SAME_SHAPE = frozenset({
    aten.gelu, aten.relu, aten.relu6, aten.silu, aten.hardswish, aten.sigmoid, aten.tanh, aten.batch_norm, aten.dropout,
    aten.softmax,
})
"""Free operators whose output has the shape of their first argument; running them would only take time."""

FREE = _SAME_SHAPE | frozenset({
    # views and copies
    aten.alias, aten.as_strided, aten.cat, aten.clone, aten.contiguous, aten.copy_, aten.detach, aten.expand, aten._to_copy,
    aten.lift_fresh, aten.permute, aten.select, aten.slice, aten.split, aten.split_with_sizes, aten.squeeze, aten.stack, aten.t,
    aten.transpose, aten.unbind, aten.unsqueeze, aten._unsafe_view, aten.view, aten._reshape_alias, aten.unfold, aten.roll, aten.flip,
    aten.repeat, aten.gather, aten.index, aten.index_select, aten.im2col, aten.pixel_shuffle, aten.pixel_unshuffle, aten.constant_pad_nd,
    aten.reflection_pad2d, aten.replication_pad2d,
    # new tensors
    aten.arange, aten.empty, aten.empty_like, aten.full, aten.full_like, aten.new_empty, aten.new_zeros, aten.ones, aten.ones_like,
    aten.scalar_tensor, aten.zeros, aten.zeros_like,
    # elementwise
    aten.abs, aten.add, aten.add_, aten.clamp, aten.clamp_min, aten.div, aten.div_, aten.elu, aten.eq, aten.exp, aten.gt, aten.ge,
    aten.hardsigmoid, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.log, aten.logical_not, aten.lt, aten.le, aten.masked_fill,
    aten.maximum, aten.minimum, aten.mul, aten.mul_, aten.neg, aten.pow, aten.reciprocal, aten.relu_, aten.rsqrt, aten.rsub, aten.silu_,
    aten.softplus, aten.sqrt, aten.sub, aten.tril, aten.triu, aten.where,
    # norms, softmax, pooling, reductions
    aten._log_softmax, aten._safe_softmax, aten._softmax, aten.native_batch_norm, aten.native_group_norm, aten.native_layer_norm,
    aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training, aten.adaptive_avg_pool2d, aten._adaptive_avg_pool2d,
    aten.amax, aten.amin, aten.avg_pool2d, aten.linalg_vector_norm, aten.max, aten.max_pool2d_with_indices, aten.mean, aten.sum, aten.var,
    aten.var_mean,
})
"""Operators without a matrix product: they count nothing, by the convention of papers on vision backbones."""
