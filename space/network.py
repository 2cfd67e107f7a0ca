"""The plain network of an architecture: the torch module that is trained, judged and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from space.architecture import Architecture, Part


def build_network(architecture: Architecture, drop_path_rate: float = 0.0, device: torch.device | str = "cpu") -> TokenMixerNet:
    """Build the network of an architecture, freshly initialised from torch's global random state.

    Args:
        drop_path_rate: stochastic depth of the last block; it grows linearly from zero over the blocks.
        device: where the parameters live; `"meta"` makes shapes without memory.
    """
    with _parameters_on(device):
        return TokenMixerNet(architecture, drop_path_rate)


def build_part(part: Part, drop_path_rate: float = 0.0, device: torch.device | str | None = None) -> nn.Module:
    """Build one part: (B, H, W, C) -> (B, H', W', C'), but for the head, which returns (B, classes).

    Args:
        device: as in `build_network`; torch's current default by default.
    """
    if device is not None:
        with _parameters_on(device):
            return build_part(part, drop_path_rate)
    module = part.spec.build(*part.widths)
    if part.norm is not None:
        module = Residual(part.norm.build(part.widths[0]), module, part.widths[0], part.layer_scale, drop_path_rate)
    module.apply(_initialise)
    return module


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        # The official truncation, at 100 standard deviations, cuts nothing off and takes most of the time.
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif callable(init_weights := getattr(module, "init_weights", None)):
        init_weights()


@contextmanager
def _parameters_on(device: torch.device | str) -> Iterator[None]:
    with torch.device(device), _ShapesOnly() if torch.device(device).type == "meta" else nullcontext():
        yield


class _ShapesOnly(TorchFunctionMode):
    """Skips what initialises tensors in place: it means nothing on the meta device and takes most of the time there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            # Functions of torch.nn.init pass their tensor by name.
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


class TokenMixerNet(nn.Module):
    """Stem, stages of blocks, head. Inside, maps are (B, H, W, C).

    Attributes:
        architecture: what it was built from.
    """

    def __init__(self, architecture: Architecture, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.architecture = architecture
        parts = {part.path: part for part in architecture.parts}

        def make(path: str, rate: float = 0.0) -> nn.Module:
            return build_part(parts[path], rate) if path in parts else nn.Identity()

        self.stem = make("stem")
        self.stages = nn.ModuleList()
        block_index = 0
        for i, stage in enumerate(architecture.stages):
            blocks = []
            for j in range(len(stage.blocks)):
                rate = drop_path_rate * block_index / max(architecture.depth - 1, 1)
                slots = ("position", "mixer", "ffn_position", "ffn")
                blocks.append(Block(*(make(f"stages.{i}.blocks.{j}.{slot}", rate) for slot in slots)))
                block_index += 1
            self.stages.append(Stage(make(f"stages.{i}.downsample"), blocks, make(f"stages.{i}.norm")))
        self.head = make("head")

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """The last stage's map, (B, C, H, W)."""
        return self._last_map(images_BCHW).permute(0, 3, 1, 2)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.head(self._last_map(images_BCHW))

    def _last_map(self, images_BCHW: Tensor) -> Tensor:
        # Convolutions and batch norms keep the layout that they are given, so one copy here saves one in every block.
        x_BHWC = self.stem(images_BCHW.to(memory_format=torch.channels_last).permute(0, 2, 3, 1))
        for stage in self.stages:
            x_BHWC = stage(x_BHWC)
        return x_BHWC


class Stage(nn.Module):
    """A downsampler, blocks, and a norm at the end where the architecture has one."""

    def __init__(self, downsample: nn.Module, blocks: list[Block], norm: nn.Module) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = self.downsample(x_BHWC)
        for block in self.blocks:
            x_BHWC = block(x_BHWC)
        return self.norm(x_BHWC)


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


def _drop_path(rate: float) -> nn.Module:
    if not rate:
        return nn.Identity()
    # Most of the seconds that importing this package takes would be timm's.
    from timm.layers import DropPath

    return DropPath(rate)


class Residual(nn.Module):
    """x + drop_path(scale * operator(norm(x)))."""

    def __init__(self, norm: nn.Module, operator: nn.Module, dim: int, layer_scale: float | None, drop_path_rate: float) -> None:
        super().__init__()
        self.norm = norm
        self.operator = operator
        self.scale = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.drop_path = _drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        branch = self.operator(self.norm(x_BHWC))
        return x_BHWC + self.drop_path(branch if self.scale is None else branch * self.scale)
