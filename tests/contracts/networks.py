"""Small networks of one operator each, for tests of whole networks."""

import torch
from pydantic import ValidationError

from space import Architecture, BlockSpec, StageSpec
from space.kinds import DOWNSAMPLERS, FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS
from space.network import TokenMixerNet, build_network
from space.registry import Spec
from tests.space.examples import randomised

from .conftest import WIDTH


def architecture_of(spec: Spec) -> Architecture:
    """An architecture with this operator, and batch norms wherever there may be some."""
    chosen = {
        "stem": STEMS("patch_stem", patch_size=1), "position": POSITIONS("dpe"), "mixer": MIXERS("local_mhra", kernel_size=3),
        "ffn": FFNS("dw_ffn", ratio=1), "norm": NORMS("batch_norm"), "downsampler": DOWNSAMPLERS("conv_downsample"),
        "head": HEADS("norm_pool_head"),
    } | {spec.registry.kind: spec}  # fmt: skip
    block = BlockSpec(**{slot: chosen[slot] for slot in ("position", "mixer", "ffn", "norm")})
    first = StageSpec(width=WIDTH, blocks=(block,), norm=chosen["norm"])
    stages = (first, StageSpec(width=WIDTH, downsample=chosen["downsampler"], blocks=(block,)))
    fields = {"image_size": WIDTH, "num_classes": 10, "head": chosen["head"]}
    try:
        return Architecture(stem=chosen["stem"], stages=stages, **fields)
    except ValidationError:
        # Some heads need the maps of a pyramid beside those of a stage.
        return Architecture(stem=STEMS("token_pyramid", pool_stride=2), stages=(first,), **fields)


def network_of(spec: Spec) -> TokenMixerNet:
    """The network of `architecture_of`, every tensor random, in evaluation."""
    return randomised(build_network(architecture_of(spec))).eval()


def images_of(network: TokenMixerNet, batch: int = 2) -> torch.Tensor:
    """Images whose first map is as high as it has channels where the stem keeps their size; windows do not tile it."""
    return torch.randn(batch, network.in_chans, WIDTH, 10 * network.feature_info[0]["reduction"])
