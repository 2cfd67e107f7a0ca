"""The plain network of an architecture: the torch module that is trained, judged and shipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from space.architecture import Architecture, Part
from space.blocks import Block, Residual, Stage
from space.errors import SpaceError
from space.fuse import fuse
from space.heads import PoolingHead
from space.limits import MAX_PARAMS

BuildPart = Callable[[Part, float], nn.Module]
"""Makes the module of a part with a rate of stochastic depth."""


def build_network(
    architecture: Architecture,
    drop_path_rate: float = 0.0,
    device: torch.device | str | None = None,
    drop_rate: float = 0.0,
    global_pool: str = "avg",
    build: BuildPart | None = None,
) -> TokenMixerNet:
    """Build the network of an architecture, freshly initialised from torch's global random state.

    Args:
        drop_path_rate: stochastic depth of the last block; it grows linearly from zero over the blocks.
        device: where the parameters live, torch's current default by default; `"meta"` makes shapes without memory.
        drop_rate: of dropout before the classifier.
        global_pool: as in `TokenMixerNet.reset_classifier`.
        build: makes the parts, instead of `build_part`.

    SpaceError where it has more than `MAX_PARAMS` parameters, unless they need no memory.
    """
    device = torch.device(device or torch.get_default_device())
    if device.type != "meta":
        check_size(architecture.name, architecture.parts)
    with _parameters_on(device):
        return TokenMixerNet(architecture, drop_path_rate, drop_rate, global_pool, build or build_part)


def check_size(name: str, parts: Sequence[Part]) -> None:
    """SpaceError where parts have more than `MAX_PARAMS` parameters together; they are counted without building them."""
    kinds = Counter((part.spec, part.widths, part.norm) for part in parts)
    total = 0
    for (spec, widths, norm), count in kinds.items():
        module = build_part(Part("part", spec, widths, (1, 1), (1, 1), norm), device="meta")
        total += count * sum(parameter.numel() for parameter in module.parameters())
    if total > MAX_PARAMS:
        raise SpaceError(f"{name}: got {total:.3g} parameters, expected at most {MAX_PARAMS:.3g}")


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
        module = Residual(part.norm.build(part.widths[0]), module, part.widths[0], part.layer_scale, _drop_path(drop_path_rate))
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
    """Stem, stages of blocks, head. Inside, maps are (B, H, W, C); images come in and maps go out as (B, C, H, W).

    Its methods are those that users of timm's models call, and mean the same.

    Attributes:
        architecture: what it is, kept up to date when the classifier changes or stages are cut off.
        num_classes, num_features, head_hidden_size: classes, channels of the last map, channels that the classifier sees.
        feature_info: of every stage's map: channels (`num_chs`), stride (`reduction`), module.
    """

    def __init__(self, architecture: Architecture, drop_path_rate: float, drop_rate: float, global_pool: str, build: BuildPart) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        parts = {part.path: part for part in architecture.parts}

        def make(path: str, rate: float = 0.0) -> nn.Module:
            return build(parts[path], rate) if path in parts else nn.Identity()

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
        self._set_head(make("head"), global_pool)
        self._describe(architecture)

    def _describe(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.in_chans, self.num_classes = architecture.in_chans, architecture.num_classes
        self.num_features = self.head_hidden_size = architecture.stages[-1].width
        self.feature_info = [
            {"num_chs": stage.width, "reduction": reduction, "module": f"stages.{i}"}
            for i, (stage, reduction) in enumerate(zip(architecture.stages, architecture.reductions, strict=True))
        ]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return _channels_first(self.head(self._last_map(images_BCHW)))

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """The last stage's map, (B, C, H, W)."""
        return _channels_first(self._last_map(images_BCHW))

    def forward_head(self, x_BCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of the last stage's map, or with `pre_logits` what the classifier sees, (B, C)."""
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        return _channels_first(self.head.pool(x_BHWC) if pre_logits else self.head(x_BHWC))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The last map and the maps behind stages, each (B, C, H, W).

        Args:
            x: images, (B, C, H, W).
            indices: which stages; the last so many for a number, all by default.
            norm: pass the last stage's map through the norm of a head that norms before it pools.
            stop_early: run no stage behind the last that is asked for; its map is the last map then.
            intermediates_only: leave the last map out.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt: got {output_fmt!r}, expected 'NCHW'")
        taken, last = _taken(len(self.stages), indices)
        x_BHWC, maps = self._stem_map(x), []
        for index, stage in enumerate(self.stages):
            if stop_early and index > last:
                break
            x_BHWC = stage(x_BHWC)
            if index in taken:
                is_normed = norm and index == len(self.stages) - 1 and self.head.norms_maps
                maps.append(_channels_first(self.head.norm(x_BHWC) if is_normed else x_BHWC))
        return maps if intermediates_only else (_channels_first(x_BHWC), maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Cut off what `forward_intermediates` does not need for these stages; returns their indices."""
        taken, last = _taken(len(self.stages), indices)
        is_cut = last < len(self.stages) - 1
        if is_cut:
            self.stages = self.stages[: last + 1]
            self._describe(self.architecture.replace(stages=self.architecture.stages[: last + 1]))
        if is_cut or prune_head:
            self.reset_classifier(0, "")
        if is_cut or prune_norm:
            self.head.norm = nn.Identity()
        return taken

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes the logits, an identity where there are no classes."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Another, freshly initialised classifier, or none for 0 classes.

        Args:
            global_pool: `avg`, or empty to return a map (B, ..., H, W) instead of pooling; unchanged by default.
        """
        self._describe(self.architecture.replace(num_classes=num_classes))
        old, place = self.head, next(self.parameters())
        head = build_part(self.architecture.parts[-1], device=place.device).to(place.dtype).train(self.training)
        self._set_head(head, old.global_pool if global_pool is None else global_pool)
        self.head.norm = old.norm

    def _set_head(self, head: nn.Module, global_pool: str) -> None:
        if global_pool not in ("avg", ""):
            raise SpaceError(f"global_pool: got {global_pool!r}, expected 'avg' or '' for no pooling")
        assert isinstance(head, PoolingHead)
        self.head = head
        self.head.global_pool = global_pool
        self.head.drop.p = self.drop_rate

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay should leave alone: biases, norms, scales, gates."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim < 2}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How parameters group into layers, a stage each if `coarse` and otherwise a block each, for layer-wise learning rates."""
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)\.norm", (99999,))]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep no activations inside blocks for the backward pass, which computes them again: less memory, more time."""
        for stage in self.modules():
            if isinstance(stage, Stage):
                stage.grad_checkpointing = enable

    def fuse(self) -> TokenMixerNet:
        """A copy for inference, faster and equal to this network in evaluation; see `space.fuse`.

        Where a batch norm is folded into the classifier, `forward_head(..., pre_logits=True)` returns what comes before it.
        """
        return fuse(self)

    def _last_map(self, images_BCHW: Tensor) -> Tensor:
        x_BHWC = self._stem_map(images_BCHW)
        for stage in self.stages:
            x_BHWC = stage(x_BHWC)
        return x_BHWC

    def _stem_map(self, images_BCHW: Tensor) -> Tensor:
        # Convolutions and batch norms keep the layout that they are given, so one copy here saves one in every block.
        return self.stem(images_BCHW.to(memory_format=torch.channels_last).permute(0, 2, 3, 1))


def _channels_first(x: Tensor) -> Tensor:
    """A map (B, H, W, C) as (B, C, H, W); logits and pooled features stay as they are."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


# timm is imported where it is used: most of the seconds that importing this package takes would be its own.


def _drop_path(rate: float) -> nn.Module:
    if not rate:
        return nn.Identity()
    from timm.layers import DropPath

    return DropPath(rate)


def _taken(num_stages: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    """Indices of the stages that are asked for, and the last of them."""
    from timm.models._features import feature_take_indices

    return feature_take_indices(num_stages, list(indices) if isinstance(indices, Sequence) else indices)
