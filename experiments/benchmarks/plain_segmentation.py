"""TopFormer's segmentation network in the official code's formulation, on (B, C, H, W) maps: what `parents.py` measures ours against."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.plain import PlainPyramid, on_maps
from space.network import TokenMixerNet
from space.operators.heads.semantics_injection import Injection, SemanticsInjection


class PlainTopFormer(nn.Module):
    """Token pyramid, trunk, semantics injection and simple head, with a copy of a network's weights."""

    def __init__(self, network: TokenMixerNet) -> None:
        super().__init__()
        self.pyramid = PlainPyramid(network.stem)
        self.trunk = nn.Sequential(*(on_maps(block) for block in network.stages[0].blocks))
        self.injections = nn.ModuleList(PlainInjection(tap) for tap in network.taps)
        self.head = PlainSimpleHead(network.head)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        maps = self.pyramid.maps(images_BCHW)
        injected = self.trunk(self.pyramid.pooled(maps)).split([map_BCHW.shape[1] for map_BCHW in maps], 1)
        # The largest map and its share of the trunk's are left out.
        results = [inject(local, whole) for inject, local, whole in zip(self.injections, maps[1:], injected[1:], strict=True)]
        return self.head(results)


class PlainInjection(nn.Module):
    """The local map times the resized gate, plus the resized embedding."""

    def __init__(self, tap: Injection) -> None:
        super().__init__()
        self.local, self.embed, self.gate = on_maps(tap.local), on_maps(tap.embed), on_maps(tap.gate)

    def forward(self, local_BCHW: Tensor, global_BCHW: Tensor) -> Tensor:
        local_BCHW, size = self.local(local_BCHW), local_BCHW.shape[2:]
        gate_BCHW = F.interpolate(F.relu6(self.gate(global_BCHW) + 3) / 6, size, mode="bilinear", align_corners=False)
        return local_BCHW * gate_BCHW + F.interpolate(self.embed(global_BCHW), size, mode="bilinear", align_corners=False)


class PlainSimpleHead(nn.Module):
    """The sum of all maps at the largest one's size, a layer with batch norm and ReLU, and the classifier."""

    def __init__(self, head: SemanticsInjection) -> None:
        super().__init__()
        self.fuse, self.classify = on_maps(head.fuse), on_maps(copy.deepcopy(head.fc))

    def forward(self, maps_BCHW: list[Tensor]) -> Tensor:
        total_BCHW, *others = maps_BCHW
        for map_BCHW in others:
            total_BCHW = total_BCHW + F.interpolate(map_BCHW, total_BCHW.shape[2:], mode="bilinear", align_corners=False)
        return self.classify(F.relu(self.fuse(total_BCHW)))
