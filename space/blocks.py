"""Stages of blocks of residual branches, for any operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from space.fuse import fold_norm_before, scale_output
from space.operators.layers import Normed, channels_first, channels_last


class Stage(nn.Module):
    """A downsampler, blocks, and a norm at the end where the architecture has one: (B, C, H, W) -> (B, C', H', W').

    Stages take and return what torch's tools for features expect; inside, maps are (B, H, W, C) views of the same memory.
    """

    def __init__(self, downsample: nn.Module, blocks: list[Block], norm: nn.Module) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.grad_checkpointing = False

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = self.downsample(channels_last(x_BCHW))
        for block in self.blocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():  # noqa: SIM108  # TorchScript compiles both ends of a ternary
                x_BHWC = _checkpointed(block, x_BHWC)
            else:
                x_BHWC = block(x_BHWC)
        return channels_first(self.norm(x_BHWC))


class Block(nn.Module):
    """See `BlockSpec` for the order."""

    def __init__(self, position: nn.Module, mixer: nn.Module, ffn_position: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.position = position
        self.mixer = mixer
        self.ffn_position = ffn_position
        self.ffn = ffn

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.ffn(self.ffn_position(self.mixer(self.position(x_BHWC))))


class Residual(Normed):
    """x + drop_path(scale * operator(norm(x)))."""

    def __init__(self, norm: nn.Module, operator: nn.Module, dim: int, layer_scale: float | None, drop_path: nn.Module) -> None:
        super().__init__(norm)
        self.operator = operator
        self.scale: nn.Parameter | None = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.drop_path = drop_path

    def forward(self, x_BHWC: Tensor) -> Tensor:
        branch = self.operator(self.normed(x_BHWC))
        if self.scale is not None:
            branch = branch * self.scale
        return x_BHWC + self.drop_path(branch)

    def fused(self) -> nn.Module:
        """Fold a batch norm and the scale into the layers that the operator names, see `space.fuse`."""
        first = [self.operator.get_submodule(name) for name in getattr(self.operator, "first_linears", ())]
        if isinstance(self.norm, nn.BatchNorm2d) and first:
            for layer in first:
                assert isinstance(layer, nn.Linear)
                fold_norm_before(self.norm, layer)
            self.norm = nn.Identity()
        if self.scale is not None and hasattr(self.operator, "last_linear"):
            last = self.operator.get_submodule(str(self.operator.last_linear))
            assert isinstance(last, nn.Linear)
            scale_output(last, self.scale)
            self.scale = None
        self.drop_path = nn.Identity()
        return self


def _checkpointed(block: nn.Module, x_BHWC: Tensor) -> Tensor:
    return checkpoint(block, x_BHWC, use_reentrant=False, context_fn=lambda: (nullcontext(), _same_statistics(block)))


@contextmanager
def _same_statistics(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics of a block's batch norms: the backward pass must not count a batch again."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
