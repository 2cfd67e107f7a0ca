"""A small architecture of the DaViT family with other classes, and weights as its official code would name them."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = """schema: architecture/1
name: small
num_classes: 3
stem: davit_stem
stages: [{width: 32, blocks: [{position: dpe, mixer: window, ffn_position: dpe, ffn: {type: mlp, ratio: 1}}]}]
head: {type: pool_norm_head, norm: layer_norm}
"""


def small_weights() -> dict[str, Tensor]:
    def pair(name: str, *shape: int) -> dict[str, Tensor]:
        return {f"{name}.weight": torch.randn(*shape), f"{name}.bias": torch.randn(shape[0])}

    block = "main_blocks.0.0.0"
    return {
        **pair("patch_embeds.0.proj", 32, 3, 7, 7), **pair("patch_embeds.0.norm", 32),
        **pair(f"{block}.cpe.0.proj", 32, 1, 3, 3), **pair(f"{block}.norm1", 32), **pair(f"{block}.attn.qkv", 96, 32),
        **pair(f"{block}.attn.proj", 32, 32), **pair(f"{block}.cpe.1.proj", 32, 1, 3, 3), **pair(f"{block}.norm2", 32),
        **pair(f"{block}.mlp.fc1", 32, 32), **pair(f"{block}.mlp.fc2", 32, 32), **pair("norms", 32), **pair("head", 3, 32),
    }
