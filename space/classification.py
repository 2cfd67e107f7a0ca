"""Networks that classify images."""

# No postponed annotations: torch.fx would write them into its code as they stand, which TorchScript does not read.

from dataclasses import replace

from torch import Tensor, nn

from space.backbone import TokenMixerNet, channels_last_images, features_taken
from space.errors import SpaceError
from space.operators.heads.pooling import PoolingHead
from space.operators.layers import channels_first, channels_last
from space.parts import build_part


class ClassificationNet(TokenMixerNet):
    """A network whose head pools and classifies the last map: images (B, C, H, W) to logits (B, classes)."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.forward_head(self.forward_features(images_BCHW))

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """The last stage's map, (B, C, H, W)."""
        x_BCHW = channels_first(self.stem(channels_last_images(images_BCHW)))
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
        return x_BCHW

    def forward_head(self, x_BCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of the last stage's map, or with `pre_logits` the classifier's input, (B, C)."""
        x_BHWC = channels_last(x_BCHW)
        x = self.head.pool(x_BHWC) if pre_logits else self.head(x_BHWC)
        return channels_first(x) if self.head.global_pool == "" else x

    def _normed(self, x_BCHW: Tensor) -> Tensor:
        return channels_first(self.head.normed(channels_last(x_BCHW))) if self.head.norms_maps else x_BCHW

    def _classifier_width(self) -> int:
        return self.num_features * (2 if self.head.global_pool == "catavgmax" else 1)

    def _make_head(self, parts: list[nn.Module], global_pool: str) -> None:
        self._set_head(parts[-1], global_pool)

    def prune_intermediate_layers(self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True) -> list[int]:
        """Remove what `forward_intermediates` does not need for these feature maps; returns their indices.

        A norm after pooling is the head's.
        """
        taken, last = features_taken(self.num_maps, indices)
        is_cut = last < self.num_maps - 1
        if is_cut:
            self._describe(self.architecture.replace(stages=self._cut_after(last)))
        if is_cut or prune_head:
            self.reset_classifier(0, "", reset_other=is_cut or not self.head.norms_maps)
        if prune_norm and self.head.norms_maps:
            self.head.norm = nn.Identity()
        return taken

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, reset_other: bool = False) -> None:
        """Replace the classifier by a freshly initialised one, or remove it for 0 classes.

        Args:
            global_pool: `avg`, `max`, `avgmax`, `catavgmax`, or empty to return a map (B, ..., H, W); unchanged by default.
            reset_other: also remove the head's norm.
        """
        architecture = self.architecture.replace(num_classes=num_classes)
        old, device = self.head, next(self.parameters()).device
        part = replace(architecture.parts[-1], widths=(self.num_features, num_classes))
        head = build_part(part, device=device).to(next(self.parameters()).dtype).train(self.training)
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
