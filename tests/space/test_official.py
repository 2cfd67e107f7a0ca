"""Operators and blocks reproduce the official implementations from the official weights.

`tests/goldens` holds outputs of the official code with random weights: `NAME.npz` has the state dict (`param/KEY`),
inputs and outputs, `NAME.json` the constructor's arguments and the map sizes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from space.architecture import Architecture, BlockSpec, StageSpec
from space.errors import SpaceError
from space.kinds import DOWNSAMPLERS, FFNS, MIXERS, POSITIONS, STEMS
from space.network import build_network
from space.official import conversion, davit, shunted, topformer, uniformer
from space.operators.inverted_residual import InvertedResidual

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.json"))


def block(mixer: str, options: dict, ffn: str, ratio: int, position: str = "none", **fields: object) -> Callable[[int], nn.Module]:
    spec = BlockSpec(position=POSITIONS(position), mixer=MIXERS(mixer, **options), ffn=FFNS(ffn, ratio=ratio), **fields)
    return lambda width: blocks_of(width, spec)[0]


def blocks_of(width: int, *specs: BlockSpec) -> nn.ModuleList:
    return build_network(Architecture(stages=(StageSpec(width=width, blocks=specs),))).stages[0].blocks


DAVIT_BLOCK = {"position": "dpe", "ffn_position": POSITIONS("dpe")}
HEAD_OF_8 = {"head_dim": 8}
TOPFORMER = {"key_dim": 8, "num_heads": 4}


def dual_block(width: int) -> nn.Module:
    specs = [
        BlockSpec(position=POSITIONS("dpe"), mixer=MIXERS(mixer, head_dim=8), ffn_position=POSITIONS("dpe"), ffn=FFNS("mlp", ratio=2))
        for mixer in ("window", "channel_group")
    ]
    return nn.Sequential(*blocks_of(width, *specs))


@dataclass(frozen=True)
class Twin:
    """Our counterpart of an official module, by width (widths, where it changes them)."""

    build: Callable[..., nn.Module]
    conversion: conversion.Conversion
    widths: tuple[int, ...] = (32,)
    map_size: tuple[int, int] | None = None


TWINS = {
    "container_cblock": Twin(block("local_mhra", {"kernel_size": 5}, "mlp", 8, "dpe"), uniformer.cblock),
    "container_mixblock": Twin(block("container", HEAD_OF_8, "mlp", 4, "dpe"), uniformer.mixblock),
    # The two attentions over tokens take any arrangement of them; windows come cut already.
    "davit_channel_attn": Twin(MIXERS("channel_group", head_dim=8).build, conversion.fused_attention, map_size=(-1, 1)),
    "davit_window_attn": Twin(MIXERS("window", head_dim=8).build, conversion.fused_attention, map_size=(7, 7)),
    "uniformer_attention": Twin(MIXERS("global_mhra", head_dim=16).build, conversion.fused_attention, (64,), map_size=(-1, 1)),
    "davit_channel_block": Twin(block("channel_group", HEAD_OF_8, "mlp", 4, **DAVIT_BLOCK), davit.block),
    "davit_spatial_block": Twin(block("window", HEAD_OF_8, "mlp", 4, **DAVIT_BLOCK), davit.block),
    "davit_dual_block": Twin(dual_block, conversion.renamed({"0": ("0", davit.block), "1": ("1", davit.block)})),
    "davit_cpe": Twin(POSITIONS("dpe").build, davit.cpe),
    "davit_cpe_act": Twin(POSITIONS("dpe", act=True).build, davit.cpe),
    "davit_down2": Twin(DOWNSAMPLERS("davit_downsample").build, conversion.patch_embed, (16, 32)),
    "davit_stem": Twin(STEMS("davit_stem").build, conversion.patch_embed, (3, 32)),
    **{
        f"shunted_attn_sr{r}": Twin(MIXERS("ssa", sr_ratio=r, head_dim=8).build, shunted.attention(4, r))
        for r in (1, 2, 4, 8)
    },
    **{
        f"shunted_block_sr{r}": Twin(block("ssa", {"sr_ratio": r, "head_dim": 8}, "ds_ffn", 4), shunted.block(4, r))
        for r in (1, 4)
    },
    "shunted_head_num1": Twin(STEMS("shunted_stem", num_convs=1).build, shunted.head(1), (3, 64)),
    "shunted_mlp": Twin(FFNS("ds_ffn", ratio=2).build, shunted.mlp),
    "shunted_overlap_embed": Twin(DOWNSAMPLERS("overlap_downsample").build, conversion.patch_embed, (16, 32)),
    "topformer_attn": Twin(MIXERS("bn_conv_attention", **TOPFORMER).build, topformer.attention),
    "topformer_mlp": Twin(FFNS("dw_ffn", ratio=2).build, topformer.ffn),
    "topformer_block": Twin(block("bn_conv_attention", TOPFORMER, "dw_ffn", 2), topformer.block),
    "topformer_ir_k3s1t4_res": Twin(lambda width: InvertedResidual(width, 16, 3, 4), topformer.inverted_residual(4), (16,)),
    "topformer_ir_k5s2t3": Twin(lambda width: InvertedResidual(width, 24, 5, 3, 2), topformer.inverted_residual(3), (16,)),
    "uniformer_cblock": Twin(block("local_mhra", {"kernel_size": 5}, "mlp", 4, "dpe"), uniformer.cblock),
    "uniformer_cblock_ls": Twin(
        block("local_mhra", {"kernel_size": 5}, "mlp", 4, "dpe", layer_scale=1e-6), uniformer.cblock
    ),
    "uniformer_sablock": Twin(block("global_mhra", {"head_dim": 16}, "mlp", 2, "dpe"), uniformer.sablock, (64,)),
    "uniformer_sablock_ls": Twin(
        block("global_mhra", {"head_dim": 16}, "mlp", 4, "dpe", layer_scale=1e-6), uniformer.sablock
    ),
    "uniformer_head_embedding": Twin(STEMS("conv_stem").build, uniformer.head_embedding, (3, 32)),
    "uniformer_middle_embedding": Twin(DOWNSAMPLERS("conv_downsample").build, uniformer.middle_embedding, (16, 32)),
    "uniformer_patch_embed4": Twin(STEMS("patch_stem").build, conversion.patch_embed, (3, 32)),
}


def load(name: str) -> tuple[dict[str, Tensor], list[tuple[Tensor, tuple[int, int], Tensor]]]:
    """State dict and cases (input, map size, output) of a golden."""
    cases = json.loads((GOLDENS / f"{name}.json").read_text())["cases"]
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        values = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    state_dict = {key.removeprefix("param/"): value for key, value in values.items() if key.startswith("param/")}
    return state_dict, [(values[f"input_{c['i']}"], tuple(c["HW"]), values[f"output_{c['i']}"]) for c in cases]


def as_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) or tokens (B, H*W, C) -> (B, H, W, C)."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x.unflatten(1, size)


@pytest.mark.parametrize("name", NAMES)
def test_official_weights_give_the_official_output_on_every_map(name: str) -> None:
    twin = TWINS[name]
    state_dict, cases = load(name)
    module = twin.build(*twin.widths).eval()
    module.load_state_dict(twin.conversion.convert(state_dict))
    assert cases
    for x, size, expected in cases:
        with torch.no_grad():
            got = module(as_map(x, twin.map_size or size))
        expected = expected.permute(0, 2, 3, 1).flatten(1, 2) if expected.ndim == 4 else expected
        torch.testing.assert_close(got.flatten(1, 2), expected, rtol=1e-4, atol=2e-5 * expected.abs().max().item())


def test_a_key_of_another_module_is_refused() -> None:
    state_dict, _ = load("uniformer_cblock")
    with pytest.raises(SpaceError, match=r"got the key 'extra\.weight', expected one under pos_embed"):
        uniformer.cblock.convert(state_dict | {"extra.weight": torch.zeros(1)})
