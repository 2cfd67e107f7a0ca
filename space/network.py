"""The network of an architecture."""

# No postponed annotations: torch.fx would write them into its code as they stand, which TorchScript does not read.

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from space.architecture import Architecture, Part
from space.blocks import Block, Stage
from space.errors import SpaceError
from space.fuse import fuse
from space.operators.heads import PoolingHead
from space.operators.layers import channels_first, channels_last
from space.operators.stems import TokenPyramid
from space.parts import build_part, check_size, parameters_on

BuildPart = Callable[[Part, float], nn.Module]
"""Makes the module of a part; the number is its rate of stochastic depth."""


def build_network(
    architecture: Architecture,
    drop_path_rate: float = 0.0,
    device: torch.device | str | None = None,
    drop_rate: float = 0.0,
    global_pool: str = "avg",
    build: BuildPart | None = None,
    dtype: torch.dtype | None = None,
) -> "TokenMixerNet":
    """Build the network of an architecture, freshly initialised from torch's global random state.

    Args:
        drop_path_rate: stochastic depth of the last block; it grows linearly from zero over the blocks.
        device: of the parameters, torch's current default by default; `"meta"` makes shapes without memory.
        drop_rate: of dropout before the classifier.
        global_pool: as in `TokenMixerNet.reset_classifier`.
        build: makes the parts, instead of `build_part`.
        dtype: of the parameters and statistics, single precision by default.

    Raises:
        SpaceError: the network has more than `MAX_PARAMS` parameters, and the device is not `"meta"`.
    """
    device = torch.device(device or torch.get_default_device())
    if device.type != "meta":
        check_size(architecture.name, architecture.parts)
    with parameters_on(device):
        network = TokenMixerNet(architecture, drop_path_rate, drop_rate, global_pool, build or build_part)
        return network.to(dtype) if dtype else network


class TokenMixerNet(nn.Module):
    """Stem, stages of blocks, head: images (B, C, H, W) to logits (B, classes).

    Its methods are those of timm's models, with the same meaning.

    Attributes:
        architecture: kept up to date when the classifier changes or stages are removed.
        num_classes, num_features, head_hidden_size: classes, channels of the last map, width of the classifier's input.
        feature_info: of every feature map: channels (`num_chs`), stride (`reduction`) and module. Features are the maps of a
            stem that is a pyramid, then those of the stages.
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
        self.num_features = architecture.stages[-1].width
        self.head_hidden_size = self.num_features * (2 if self.head.global_pool == "catavgmax" else 1)
        stages = zip(architecture.stages, architecture.reductions, strict=True)
        self.feature_info = [
            *({"num_chs": width, "reduction": reduction, "module": f"stem.{module}"} for width, reduction, module in self._stem_features()),
            *({"num_chs": stage.width, "reduction": stride, "module": f"stages.{i}"} for i, (stage, stride) in enumerate(stages)),
        ]

    def _stem_features(self) -> list[tuple[int, int, str]]:
        return self.stem.features() if isinstance(self.stem, TokenPyramid) else []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.forward_head(self.forward_features(images_BCHW))

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """The last stage's map, (B, C, H, W)."""
        x_BCHW = channels_first(self.stem(_channels_last_images(images_BCHW)))
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
        return x_BCHW

    def forward_head(self, x_BCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of the last stage's map, or with `pre_logits` the classifier's input, (B, C)."""
        x_BHWC = channels_last(x_BCHW)
        x = self.head.pool(x_BHWC) if pre_logits else self.head(x_BHWC)
        return channels_first(x) if self.head.global_pool == "" else x

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The last map and the feature maps, each (B, C, H, W).

        Args:
            x: images, (B, C, H, W).
            indices: of the feature maps; a number n means the last n; all by default.
            norm: apply the norm of a head that norms before it pools to the last stage's map.
            stop_early: do not run stages after the last index; its map is the last map then.
            intermediates_only: do not return the last map.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt: got {output_fmt!r}, expected 'NCHW'")
        taken, last = _taken(len(self.feature_info), indices)
        maps = []
        for index, x_BCHW in enumerate(self._maps(x)):
            is_normed = norm and index == len(self.feature_info) - 1 and self.head.norms_maps
            if index in taken:
                maps.append(channels_first(self.head.normed(channels_last(x_BCHW))) if is_normed else x_BCHW)
            if stop_early and index == last:
                break
        return maps if intermediates_only else (x_BCHW, maps)

    def _maps(self, images_BCHW: Tensor) -> Iterator[Tensor]:
        """The feature maps, each computed when it is asked for."""
        x_BHWC = _channels_last_images(images_BCHW)
        if isinstance(self.stem, TokenPyramid):
            pyramid = self.stem.pyramid(x_BHWC)
            yield from pyramid
            x_BCHW = channels_first(self.stem.pooled(pyramid))
        else:
            x_BCHW = channels_first(self.stem(x_BHWC))
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            yield x_BCHW

    def prune_intermediate_layers(self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True) -> list[int]:
        """Remove what `forward_intermediates` does not need for these feature maps; returns their indices.

        The first stage stays even where only maps of a stem are needed.
        """
        taken, last = _taken(len(self.feature_info), indices)
        num_stages = max(last + 1 - len(self._stem_features()), 1)
        is_cut = num_stages < len(self.stages)
        if is_cut:
            self.stages = self.stages[:num_stages]
            self._describe(self.architecture.replace(stages=self.architecture.stages[:num_stages]))
        if is_cut or prune_head:
            self.reset_classifier(0, "")
        if is_cut or prune_norm:
            self.head.norm = nn.Identity()
        return taken

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes the logits, an identity where there are no classes."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, reset_other: bool = False) -> None:
        """Replace the classifier by a freshly initialised one, or remove it for 0 classes.

        Args:
            global_pool: `avg`, `max`, `avgmax`, `catavgmax`, or empty to return a map (B, ..., H, W); unchanged by default.
            reset_other: also remove the head's norm.
        """
        architecture = self.architecture.replace(num_classes=num_classes)
        old, device = self.head, next(self.parameters()).device
        head = build_part(architecture.parts[-1], device=device).to(next(self.parameters()).dtype).train(self.training)
        self._set_head(head, old.global_pool if global_pool is None else global_pool)
        self.head.norm = nn.Identity() if reset_other else old.norm
        self._describe(architecture)

    def _set_head(self, head: nn.Module, global_pool: str) -> None:
        assert isinstance(head, PoolingHead)
        try:
            head.set_pooling(global_pool)
        except ValueError as error:
            raise SpaceError(str(error)) from None
        head.drop.p = self.drop_rate
        self.head = head

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay: biases, norms, scales, gates."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim < 2}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Groups of parameters for layer-wise learning rates: one per stage if `coarse`, otherwise one per block."""
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)\.norm", (99999,))]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the activations inside blocks in the backward pass instead of storing them: less memory, more time."""
        for stage in self.modules():
            if isinstance(stage, Stage):
                stage.grad_checkpointing = enable

    def fuse(self) -> "TokenMixerNet":
        """A copy for inference, faster and equal to this network in evaluation; see `space.fuse`.

        Where a batch norm is folded into the classifier, `forward_head(..., pre_logits=True)` returns the features before the norm.
        """
        return fuse(self)


def _channels_last_images(images_BCHW: Tensor) -> Tensor:
    # Convolutions and batch norms keep the memory format of their input: one copy here saves one in every block.
    return channels_last(images_BCHW.to(images_BCHW.dtype, memory_format=torch.channels_last))


def _taken(num_maps: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    """Indices of the wanted maps, and the last of them."""
    # Here, because timm would take most of the time of importing this module.
    from timm.models._features import feature_take_indices

    return feature_take_indices(num_maps, list(indices) if isinstance(indices, Sequence) else indices)
