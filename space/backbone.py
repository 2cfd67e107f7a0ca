"""What the networks of all tasks share: stem, stages, feature maps."""

# No postponed annotations: torch.fx would write them into its code as they stand, which TorchScript does not read.

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from space.architecture import Architecture, Part, StageSpec
from space.blocks import Block, Stage
from space.fuse import fuse
from space.operators.layers import channels_first, channels_last
from space.operators.stems import TokenPyramid

BuildPart = Callable[[Part, float], nn.Module]
"""Makes the module of a part; the number is its rate of stochastic depth."""


class TokenMixerNet(nn.Module):
    """Stem, stages of blocks, head: images (B, C, H, W) to logits.

    Its methods are those of timm's models, with the same meaning.

    Attributes:
        architecture: kept up to date when the classifier changes or stages are removed. A network that ends inside its stem keeps the
            first stage here: no architecture is without one.
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
        self._make_head([build(part, 0.0) for path, part in parts.items() if path.startswith(("taps.", "head"))], global_pool)
        self._describe(architecture)

    @abstractmethod
    def _make_head(self, parts: list[nn.Module], global_pool: str) -> None:
        """Take the taps and the head; SpaceError where it cannot pool like that."""

    @abstractmethod
    def _classifier_width(self) -> int:
        """The width of the classifier's input."""

    def _describe(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.in_chans, self.num_classes = architecture.in_chans, architecture.num_classes
        modules = [*(f"stem.scales.{i}" for i in range(self._num_scales())), *(f"stages.{i}" for i in range(len(self.stages)))]
        shapes = architecture.features_at(architecture.image_size, architecture.image_size)
        self.num_maps = len(modules)
        # A network that ends inside its stem has fewer maps than its architecture, which has a stage.
        self.feature_info = [
            {"num_chs": shape[2], "reduction": reduction, "module": module}
            for shape, reduction, module in zip(shapes, architecture.reductions, modules, strict=False)
        ]
        self.num_features = shapes[self.num_maps - 1][2]
        self.head_hidden_size = self._classifier_width()

    def _num_scales(self) -> int:
        """Feature maps of the stem."""
        return len(self.stem.scales) if isinstance(self.stem, TokenPyramid) else 0

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
            raise ValueError(f"output_fmt: got '{output_fmt}', expected 'NCHW'")
        taken, last = features_taken(self.num_maps, indices)
        maps: list[Tensor] = []
        x_BHWC = channels_last_images(x)
        if hasattr(self.stem, "pyramid"):
            maps.extend(self.stem.pyramid(x_BHWC))  # type: ignore[operator]
            x_BCHW = maps[last] if stop_early and last < len(maps) else channels_first(self.stem.pooled(maps))  # type: ignore[operator]
        else:
            x_BCHW = channels_first(self.stem(x_BHWC))
        index = len(maps)
        for stage in self.stages:
            if index <= last or not stop_early:
                x_BCHW = stage(x_BCHW)
                maps.append(x_BCHW)
            index += 1  # TorchScript enumerates modules from 0 alone.
        if norm and len(maps) == self.num_maps:
            maps[-1] = self._normed(maps[-1])
        wanted: list[Tensor] = []
        for i, map_BCHW in enumerate(maps):
            if i in taken:
                wanted.append(map_BCHW)
        if intermediates_only:
            return wanted
        return x_BCHW, wanted

    def _normed(self, x_BCHW: Tensor) -> Tensor:
        """The last feature map after the norm of a head that norms before it pools."""
        return x_BCHW

    def _cut_after(self, last: int) -> tuple[StageSpec, ...]:
        """Remove the stages, and scales of the stem, that come after a feature map; returns the stages that the architecture keeps."""
        num_stages = last + 1 - self._num_scales()
        if isinstance(self.stem, TokenPyramid) and num_stages < 1:
            self.stem.cut(last + 1)
        self.stages = self.stages[: max(num_stages, 0)]
        return self.architecture.stages[: max(num_stages, 1)]

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes the logits, an identity where there are no classes."""
        return self.get_submodule("head.fc")

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


def channels_last_images(images_BCHW: Tensor) -> Tensor:
    """Images as a contiguous map (B, H, W, C)."""
    # Convolutions and batch norms keep the memory format of their input: one copy here saves one in every block.
    return channels_last(images_BCHW.to(images_BCHW.dtype, memory_format=torch.channels_last))


def features_taken(num_maps: int, indices: int | list[int] | None) -> tuple[list[int], int]:
    """Indices of the wanted maps, and the last of them; ValueError where there is none."""
    taken: list[int] = []
    if indices is None:
        taken = list(range(num_maps))
    elif isinstance(indices, int):
        taken = list(range(num_maps - indices, num_maps))
    else:
        taken = [num_maps + index if index < 0 else index for index in indices]
    if len(taken) == 0 or min(taken) < 0 or max(taken) >= num_maps:
        raise ValueError(f"indices: got {indices}, expected some of {num_maps} feature maps")
    return taken, max(taken)
