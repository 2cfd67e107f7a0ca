"""Networks that label every pixel."""

# No postponed annotations: torch.fx would write them into its code as they stand, which TorchScript does not read.

from torch import Tensor, nn

from space.architecture import Architecture
from space.backbone import TokenMixerNet, channels_last_images, features_taken
from space.errors import SpaceError
from space.kinds import HEADS
from space.operators.heads.dense import DenseHead
from space.operators.layers import channels_first, channels_last
from space.parts import build_part
from space.taps import taps_of


class DenseNet(TokenMixerNet):
    """A network whose head combines several feature maps: images (B, C, H, W) to logits (B, classes, H', W').

    Attributes:
        taps: what the head does to feature maps before it combines them.
        sources: of each tap: index, first and last channel of the feature maps that it takes; channels 0 to 0 are all.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, classes, H', W') at the stride of the head's first map."""
        return self.forward_head(self.forward_features(images_BCHW))

    def forward_features(self, images_BCHW: Tensor) -> list[Tensor]:
        """All feature maps, (B, C, H, W)."""
        maps: list[Tensor] = []
        x_BHWC = channels_last_images(images_BCHW)
        if hasattr(self.stem, "pyramid"):
            maps.extend(self.stem.pyramid(x_BHWC))  # type: ignore[operator]
            x_BCHW = channels_first(self.stem.pooled(maps))  # type: ignore[operator]
        else:
            x_BCHW = channels_first(self.stem(x_BHWC))
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps

    def forward_head(self, maps_BCHW: list[Tensor], pre_logits: bool = False) -> Tensor:
        """Logits of all feature maps, or with `pre_logits` the classifier's input, (B, C, H', W')."""
        taken: list[Tensor] = []
        for i, tap in enumerate(self.taps):
            inputs: list[Tensor] = []
            for feature, start, stop in self.sources[i]:
                x_BHWC = channels_last(maps_BCHW[feature])
                inputs.append(x_BHWC[..., start:stop] if stop else x_BHWC)
            taken.append(tap(inputs))
        return channels_first(self.head.combined(taken) if pre_logits else self.head(taken))

    def _classifier_width(self) -> int:
        return self.head.width if isinstance(self.head, DenseHead) else self.num_features

    def _make_head(self, parts: list[nn.Module], global_pool: str) -> None:
        if global_pool != "avg":
            raise SpaceError(f"global_pool: got {global_pool!r}, expected none: a head that labels every pixel does not pool")
        *taps, head = parts
        assert isinstance(head, DenseHead)
        head.drop.p = self.drop_rate
        self.taps, self.head = nn.ModuleList(taps), head

    def _describe(self, architecture: Architecture) -> None:
        super()._describe(architecture)
        taps = taps_of(architecture.head, architecture.features_at(architecture.image_size, architecture.image_size))
        self.sources = [[(source.feature, source.start, source.stop) for source in tap.sources] for tap in taps]

    def prune_intermediate_layers(self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True) -> list[int]:
        """Remove what `forward_intermediates` does not need for these feature maps; returns their indices.

        Without its head the network returns the last of its maps.
        """
        taken, last = features_taken(self.num_maps, indices)
        if last < self.num_maps - 1 or prune_head:
            stages = self._cut_after(last)
            self.taps, self.head = nn.ModuleList([_LastMap()]), _LastMap()  # type: ignore[assignment]
            self._describe(self.architecture.replace(stages=stages, head=HEADS("norm_pool_head"), num_classes=0))
            self.sources = [[(self.num_maps - 1, 0, 0)]]
        return taken

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, reset_other: bool = False) -> None:
        """Replace the classifier by a freshly initialised one, or remove it for 0 classes. SpaceError where it is to pool."""
        architecture, weight = self.architecture.replace(num_classes=num_classes), next(self.parameters())
        head = build_part(architecture.parts[-1], device=weight.device).to(weight.dtype).train(self.training)
        assert isinstance(head, DenseHead)
        self.head.fc = head.fc
        self._describe(architecture)


class _LastMap(nn.Module):
    """Stands for the taps and the head that were removed."""

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        return maps_BHWC[-1]

    def combined(self, maps_BHWC: list[Tensor]) -> Tensor:
        return maps_BHWC[-1]
